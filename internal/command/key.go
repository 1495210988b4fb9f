package command

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"rqvault/internal/seal"
	"rqvault/internal/snapshot"
	"rqvault/internal/typo"
)

func (e *env) keyCommand() *cli.Command {
	store := storeFlags // --source says which of the configuration's stores
	newPassphrase := func() []cli.Flag {
		return []cli.Flag{&cli.StringFlag{Name: "new-passphrase-file", Usage: "let the passphrase in this `FILE` open the snapshots too", EnvVars: []string{"RQVAULT_NEW_PASSPHRASE_FILE"}}}
	}
	operators := func() []cli.Flag {
		return []cli.Flag{&cli.StringFlag{Name: "recipients-file", Usage: "`FILE` with recipients, one on each line"}}
	}
	return &cli.Command{
		Name:  "key",
		Usage: "encrypt what is stored: make keys, and say who can open the snapshots",
		Subcommands: []*cli.Command{
			{Name: "new", Usage: "give the store its first keys: from then on every backup is encrypted", ArgsUsage: "RECIPIENT...",
				Flags: flags(store(), operators(), newPassphrase(), outputFlags()), Action: e.keyNew},
			{Name: "add", Usage: "let more operators open the snapshots, those from before included", ArgsUsage: "RECIPIENT...",
				Flags: flags(store(), operators(), newPassphrase(), identityFlags(), outputFlags()), Action: e.keyAdd},
			{Name: "remove", Usage: "take operators off the list", ArgsUsage: "RECIPIENT...|passphrase",
				Flags: flags(store(), operators(), identityFlags(), outputFlags()), Action: e.keyRemove},
			{Name: "rotate", Usage: "begin a new epoch: new snapshots get another key, for the same operators",
				Flags: flags(store(), identityFlags(), outputFlags()), Action: e.keyRotate},
			{Name: "list", Usage: "list the epochs and who can open them",
				Flags: flags(store(), identityFlags(), outputFlags()), Action: e.keyList},
			{Name: "identity", Usage: "make an operator's identity, as age-keygen does, and print its recipient", ArgsUsage: "FILE",
				Flags: outputFlags(), Action: e.keyIdentity},
			{Name: "signer", Usage: "make a pair of keys to sign snapshots with: FILE, and FILE.pub to verify them", ArgsUsage: "FILE",
				Flags: outputFlags(), Action: e.keySigner},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return noSubcommand(c.App.Command("key"), c.Args().First())
			}
			return cli.ShowSubcommandHelp(c)
		},
	}
}

// noSubcommand complains of a subcommand that does not exist.
func noSubcommand(cmd *cli.Command, name string) error {
	var names []string
	for _, sub := range cmd.Subcommands {
		names = append(names, sub.Name)
	}
	if near := typo.Nearest(name, names); near != "" {
		return usage("there is no command %q; did you mean rqvault %s %s?", cmd.Name+" "+name, cmd.Name, near)
	}
	return usage("there is no command %q; rqvault %s --help lists them", cmd.Name+" "+name, cmd.Name)
}

// storeKeys opens the keys of the store that the command line names.
func (e *env) storeKeys(c *cli.Context) (*seal.Keyring, snapshot.Store, error) {
	s, err := e.store(c)
	if err != nil {
		return nil, nil, err
	}
	ring, err := e.keyring(c, s)
	return ring, s, err
}

// words are the recipients that a command names, by themselves and in a file.
func words(c *cli.Context) ([]string, error) {
	all := c.Args().Slice()
	path := c.String("recipients-file")
	if path == "" {
		return all, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, usage("--recipients-file: %v", err)
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all, nil
}

// recipients reads who shall be able to open the snapshots.
func recipients(c *cli.Context) ([]seal.Recipient, error) {
	all, err := words(c)
	if err != nil {
		return nil, err
	}
	var out []seal.Recipient
	for _, w := range all {
		if w == seal.Passphrase {
			return nil, usage("give the passphrase in a file: --new-passphrase-file FILE")
		}
		r, err := seal.ParseRecipient(w)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	passphrase, err := passphraseFile(c, "new-passphrase-file")
	if err != nil {
		return nil, err
	}
	if passphrase != "" {
		r, err := seal.NewPassphrase(passphrase)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	if len(out) == 0 {
		return nil, usage("name who shall be able to open the snapshots: age1… or a public key of SSH; rqvault key identity FILE makes one")
	}
	return out, nil
}

func (e *env) keyNew(c *cli.Context) error {
	to, err := recipients(c)
	if err != nil {
		return err
	}
	ring, s, err := e.storeKeys(c)
	if err != nil {
		return err
	}
	if err := e.probeStore(c.Context, s); err != nil {
		return err
	}
	if err := ring.Found(c.Context, to, e.now()); err != nil {
		return err
	}
	return e.printEpochs(c, ring, "from now on every backup into this store is encrypted. Keep the operators' identities safe and apart from the store: without one of them nobody can open it")
}

func (e *env) keyAdd(c *cli.Context) error {
	to, err := recipients(c)
	if err != nil {
		return err
	}
	ring, _, err := e.storeKeys(c)
	if err != nil {
		return err
	}
	if err := ring.Add(c.Context, to, e.now()); err != nil {
		return err
	}
	return e.printEpochs(c, ring, "")
}

func (e *env) keyRemove(c *cli.Context) error {
	who, err := words(c)
	if err != nil {
		return err
	}
	if len(who) == 0 {
		return usage("name who shall be removed; rqvault key list shows the operators")
	}
	ring, _, err := e.storeKeys(c)
	if err != nil {
		return err
	}
	if err := ring.Remove(c.Context, who, e.now()); err != nil {
		return err
	}
	return e.printEpochs(c, ring, "whoever was removed may have kept a copy of the key. For new snapshots take another: rqvault key rotate")
}

func (e *env) keyRotate(c *cli.Context) error {
	if c.Args().Present() {
		return usage("key rotate takes no arguments, only flags")
	}
	ring, _, err := e.storeKeys(c)
	if err != nil {
		return err
	}
	passphrase, err := passphraseFile(c, "passphrase-file")
	if err != nil {
		return err
	}
	if err := ring.Rotate(c.Context, passphrase, e.now()); err != nil {
		if passphrase == "" && errors.Is(err, seal.ErrRecipient) {
			return &advice{err, "a passphrase is among the operators: give it too, with --passphrase-file FILE"}
		}
		return err
	}
	return e.printEpochs(c, ring, "new snapshots use the newest epoch. Where a backup names its --recipient, name the new one")
}

func (e *env) keyList(c *cli.Context) error {
	if c.Args().Present() {
		return usage("key list takes no arguments, only flags")
	}
	ring, s, err := e.storeKeys(c)
	if err != nil {
		return err
	}
	epochs, err := ring.Epochs(c.Context)
	if err != nil {
		return err
	}
	if len(epochs) == 0 {
		if err := snapshot.CheckRepository(c.Context, s); err != nil && !errors.Is(err, snapshot.ErrNotFound) {
			return err
		}
	}
	if len(epochs) == 0 && !c.Bool("json") {
		fmt.Fprintf(e.out, "%s has no keys: what is stored there is not encrypted\nnext: rqvault key new RECIPIENT\n", s)
		return nil
	}
	return e.printEpochs(c, ring, "")
}

// printEpochs shows the keys as they are now, and a last word.
func (e *env) printEpochs(c *cli.Context, ring *seal.Keyring, word string) error {
	epochs, err := ring.Epochs(c.Context)
	if err != nil {
		return err
	}
	var forged error
	for _, x := range epochs {
		if x.Stale > 0 {
			e.warn([]string{fmt.Sprintf("epoch %d: %s from before could not be removed, and whoever was on it still opens the epoch", x.Epoch, plural(int64(x.Stale), "list"))})
		}
		if x.Proven != nil && !*x.Proven {
			forged = fmt.Errorf("%w: the list of epoch %d was not written by anybody who holds its key", snapshot.ErrForged, x.Epoch)
		}
	}
	if c.Bool("json") {
		return errors.Join(e.printJSON(epochs), forged)
	}
	if c.Bool("quiet") {
		return forged
	}
	for _, x := range epochs {
		fmt.Fprintf(e.out, "epoch %d since %s, for %s\n", x.Epoch, x.FoundedAt.Format(time.RFC3339), clean(x.Recipient))
		for _, o := range x.Operators {
			fmt.Fprintf(e.out, "  opened by %s\n", clean(o))
		}
		if len(x.Operators) == 1 {
			e.warn([]string{fmt.Sprintf("only one operator opens epoch %d: if that key is lost, so is what is stored. rqvault key add RECIPIENT", x.Epoch)})
		}
		if x.Proven != nil && *x.Proven {
			fmt.Fprintln(e.out, "  proven: whoever wrote this list held the key")
		}
	}
	if word != "" {
		fmt.Fprintln(e.out, word)
	}
	return forged
}
