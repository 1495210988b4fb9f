package seal

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"
)

// Passphrase stands among the recipients for a passphrase.
const Passphrase = "passphrase"

// Recipient is the public half of an operator.
type Recipient struct {
	age  age.Recipient
	name string // as it was written, in one form
}

// String is the recipient as age writes it, or Passphrase.
func (r Recipient) String() string { return r.name }

// ParseRecipient reads an age recipient ("age1…") or an SSH public key of type ssh-ed25519
// or ssh-rsa, with its comment or without.
func ParseRecipient(text string) (Recipient, error) {
	name := strings.Join(strings.Fields(text), " ")
	var r age.Recipient
	var err error
	if strings.HasPrefix(name, "ssh-") {
		r, err = agessh.ParseRecipient(name)
	} else {
		var all []age.Recipient
		if all, err = age.ParseRecipients(strings.NewReader(name)); err == nil {
			r = all[0]
		}
	}
	if err != nil {
		return Recipient{}, fmt.Errorf("%w: %q: want age1… or a public key of SSH (ssh-ed25519, ssh-rsa)", ErrRecipient, short(name))
	}
	return Recipient{age: r, name: name}, nil
}

// NewPassphrase is the recipient that a passphrase is.
func NewPassphrase(text string) (Recipient, error) {
	r, err := age.NewScryptRecipient(text)
	if err != nil {
		return Recipient{}, fmt.Errorf("%w: the passphrase is empty", ErrRecipient)
	}
	return Recipient{age: r, name: Passphrase}, nil
}

// short cuts a text that may be a secret given in the wrong place.
func short(text string) string {
	if len(text) > 8 {
		return text[:8] + "…"
	}
	return text
}

// means reports whether a person who writes word can mean that recipient: all of it, all
// but an SSH key's comment, or that comment alone.
func means(recipient, word string) bool {
	a, b := strings.Fields(recipient), strings.Fields(word)
	if len(a) > 2 && slices.Equal(a[2:], b) {
		return true
	}
	return slices.Equal(a[:min(2, len(a))], b[:min(2, len(b))])
}

// Identity is the secret half of an operator.
type Identity struct {
	age        age.Identity
	passphrase bool
}

// PassphraseIdentity opens what was encrypted for a passphrase.
func PassphraseIdentity(text string) (Identity, error) {
	i, err := age.NewScryptIdentity(text)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: the passphrase is empty", ErrIdentity)
	}
	return Identity{age: i, passphrase: true}, nil
}

// ParseIdentities reads an identity file of age or a private key of SSH. Where it is itself
// protected by a passphrase, that one is tried; "" is none. Errors name no part of it.
func ParseIdentities(b []byte, passphrase string) ([]Identity, error) {
	switch {
	case bytes.Contains(b, []byte("PRIVATE KEY-----")):
		return sshIdentity(b, passphrase)
	case bytes.HasPrefix(b, []byte("age-encryption.org/")), bytes.HasPrefix(bytes.TrimSpace(b), []byte(armor.Header)):
		plain, err := openFile(b, passphrase)
		if err != nil {
			return nil, err
		}
		b = plain
	}
	all, err := age.ParseIdentities(bytes.NewReader(b))
	if err != nil { // its text may quote a line
		return nil, fmt.Errorf("%w: it holds no AGE-SECRET-KEY-… and no private key of SSH", ErrIdentity)
	}
	out := make([]Identity, len(all))
	for i := range all {
		out[i].age = all[i]
	}
	return out, nil
}

var errProtected = fmt.Errorf("%w: it is protected by a passphrase, and none was given", ErrIdentity)

// openFile decrypts an identity file that is protected by a passphrase.
func openFile(b []byte, passphrase string) ([]byte, error) {
	if passphrase == "" {
		return nil, errProtected
	}
	key, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, err
	}
	var r io.Reader = bytes.NewReader(b)
	if !bytes.HasPrefix(b, []byte("age-encryption.org/")) {
		r = armor.NewReader(bytes.NewReader(bytes.TrimSpace(b)))
	}
	plain, err := age.Decrypt(r, key)
	if err == nil {
		b, err = io.ReadAll(plain)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the passphrase does not open it: %w", ErrIdentity, err)
	}
	return b, nil
}

func sshIdentity(b []byte, passphrase string) ([]Identity, error) {
	i, err := agessh.ParseIdentity(b)
	var missing *ssh.PassphraseMissingError
	if errors.As(err, &missing) {
		if passphrase == "" {
			return nil, errProtected
		}
		if i, err = protectedSSH(b, passphrase); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: of SSH's private keys only ssh-ed25519 and ssh-rsa can be used, and this is none that can be read", ErrIdentity)
	}
	return []Identity{{age: i}}, nil
}

// protectedSSH reads a private key that is protected by a passphrase.
func protectedSSH(b []byte, passphrase string) (age.Identity, error) {
	key, err := ssh.ParseRawPrivateKeyWithPassphrase(b, []byte(passphrase))
	if err != nil {
		return nil, fmt.Errorf("%w: the passphrase does not open it", ErrIdentity)
	}
	switch key := key.(type) {
	case *ed25519.PrivateKey:
		return agessh.NewEd25519Identity(*key)
	case *rsa.PrivateKey:
		return agessh.NewRSAIdentity(key)
	}
	return nil, ErrIdentity
}

// NewIdentity makes an identity file of age, and the recipient that belongs to it.
func NewIdentity() (file []byte, recipient string, err error) {
	i, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, "", fmt.Errorf("make an identity: %w", err)
	}
	recipient = i.Recipient().String()
	return []byte("# public key: " + recipient + "\n" + i.String() + "\n"), recipient, nil
}
