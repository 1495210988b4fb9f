package command

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"rqvault/internal/seal"
)

// keyIdentity makes an identity file.
func (e *env) keyIdentity(c *cli.Context) error {
	if c.NArg() != 1 {
		return usage("name one file, which must not exist yet: rqvault key identity FILE")
	}
	b, recipient, err := seal.NewIdentity()
	if err != nil {
		return err
	}
	if err := newFile(c.Args().First(), b, 0o600); err != nil {
		return err
	}
	if c.Bool("json") {
		return e.printJSON(map[string]string{"file": c.Args().First(), "recipient": recipient})
	}
	fmt.Fprintln(e.out, recipient)
	return nil
}

// keySigner makes a pair of keys for signatures, in the forms that openssl reads.
func (e *env) keySigner(c *cli.Context) error {
	if c.NArg() != 1 {
		return usage("name one file, which must not exist yet: rqvault key signer FILE")
	}
	path := c.Args().First()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	open, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	if err := newFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600); err != nil {
		return err
	}
	if err := newFile(path+".pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: open}), 0o644); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	if c.Bool("json") {
		return e.printJSON(map[string]string{"sign_key": path, "verify_key": path + ".pub"})
	}
	fmt.Fprintf(e.out, "sign with    rqvault backup --sign-key %s\nverify with  rqvault verify --verify-key %s\n", quote(path), quote(path+".pub"))
	return nil
}

// newFile writes a file that must not exist yet, durably.
func newFile(path string, b []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, os.ErrExist) {
		return usage("%s exists already, and is left as it is", quote(path))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(path)))
	}
	return nil
}
