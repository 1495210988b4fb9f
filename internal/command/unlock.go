package command

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"rqvault/internal/seal"
	"rqvault/internal/secret"
	"rqvault/internal/snapshot"
)

// identityFlags say what encrypted snapshots are opened with.
func identityFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "identity", Usage: "open encrypted snapshots with this `FILE`: an identity of age or a private key of SSH; may be repeated", EnvVars: []string{"RQVAULT_IDENTITY_FILE"}},
		&cli.StringFlag{Name: "passphrase-file", Usage: "open them with the passphrase in this `FILE`, which is also tried on identities that are protected by one", EnvVars: []string{"RQVAULT_PASSPHRASE_FILE"}},
	}
}

// keyFlags are for commands that read snapshots.
func keyFlags() []cli.Flag { return flags(identityFlags(), trustFlags()) }

// trustFlags say whose snapshots are read.
func trustFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "verify-key", Usage: "refuse snapshots that are not signed by the key in this `FILE`; may be repeated, then one must fit", EnvVars: []string{"RQVAULT_VERIFY_KEY_FILE"}},
	}
}

// writeKeyFlags are for commands that store snapshots.
func writeKeyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "recipient", Usage: "refuse to store a snapshot that is not encrypted for this epoch of the store's keys: `age1…`, as rqvault key list shows it", EnvVars: []string{"RQVAULT_RECIPIENT"}},
		&cli.StringFlag{Name: "sign-key", Usage: "sign the snapshot with the key in this `FILE`", EnvVars: []string{"RQVAULT_SIGN_KEY_FILE"}},
	}
}

// keyed gives a catalog the keys that the command line names.
func (e *env) keyed(c *cli.Context, cat *snapshot.Catalog) (*snapshot.Catalog, error) {
	return keyed(keyFilesOf(c), cat)
}

// keyFiles are the files with keys that a command line or a configuration names.
type keyFiles struct {
	recipient, passphrase, signKey string
	identities, verifyKeys         []string
}

func keyFilesOf(c *cli.Context) keyFiles {
	return keyFiles{recipient: c.String("recipient"), passphrase: c.String("passphrase-file"), signKey: c.String("sign-key"),
		identities: c.StringSlice("identity"), verifyKeys: c.StringSlice("verify-key")}
}

func keyed(k keyFiles, cat *snapshot.Catalog) (*snapshot.Catalog, error) {
	ring, err := keyring(k, cat.Store())
	if err != nil {
		return nil, err
	}
	cat = cat.WithKeys(ring)
	if path := k.signKey; path != "" {
		key, err := readKey(path, "PRIVATE KEY", x509.ParsePKCS8PrivateKey)
		signer, ok := key.(ed25519.PrivateKey)
		if err != nil || !ok {
			return nil, usage("--sign-key %s: %v", path, orElse(err, errNotEd25519))
		}
		cat = cat.WithSigner(signer)
	}
	var trusted []ed25519.PublicKey
	for _, path := range k.verifyKeys {
		key, err := readKey(path, "PUBLIC KEY", x509.ParsePKIXPublicKey)
		public, ok := key.(ed25519.PublicKey)
		if err != nil || !ok {
			return nil, usage("--verify-key %s: %v", path, orElse(err, errNotEd25519))
		}
		trusted = append(trusted, public)
	}
	return cat.WithTrust(trusted), nil
}

var errNotEd25519 = errors.New("it is no Ed25519 key; rqvault key signer makes one")

func orElse(err, instead error) error {
	if err != nil {
		return err
	}
	return instead
}

// readKey reads a PEM file with one key of that type. Its errors quote nothing of it.
func readKey(path, kind string, parse func([]byte) (any, error)) (any, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("it is no PEM file with a %s; rqvault key signer makes one", kind)
	}
	key, err := parse(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("its %s cannot be read", kind)
	}
	return key, nil
}

// keyring holds the keys of a store and what the command line gives to open them.
func (e *env) keyring(c *cli.Context, s snapshot.Store) (*seal.Keyring, error) {
	return keyring(keyFilesOf(c), s)
}

func keyring(k keyFiles, s snapshot.Store) (*seal.Keyring, error) {
	o := seal.Options{Recipient: k.recipient}
	if o.Recipient != "" {
		if _, err := seal.ParseRecipient(o.Recipient); err != nil {
			return nil, usage("--recipient: %v", err)
		}
	}
	passphrase, err := readPassphrase("passphrase-file", k.passphrase)
	if err != nil {
		return nil, err
	}
	if passphrase != "" {
		i, err := seal.PassphraseIdentity(passphrase)
		if err != nil {
			return nil, usage("--passphrase-file: %v", err)
		}
		o.Identities = append(o.Identities, i)
	}
	for _, path := range k.identities {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, usage("--identity: %v", err)
		}
		some, err := seal.ParseIdentities(b, passphrase)
		if err != nil {
			return nil, usage("--identity %s: %v", path, err)
		}
		o.Identities = append(o.Identities, some...)
	}
	return seal.NewKeyring(s, o), nil
}

// passphraseFile reads the passphrase that a flag names the file of; "" if it is not given.
func passphraseFile(c *cli.Context, flag string) (string, error) {
	return readPassphrase(flag, c.String(flag))
}

func readPassphrase(flag, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := secret.ReadLine(path)
	if err == nil && text == "" {
		err = errors.New("the file is empty")
	}
	if err != nil {
		return "", usage("--%s: %v", flag, err)
	}
	return text, nil
}
