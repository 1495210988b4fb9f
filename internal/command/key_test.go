package command_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rqvault/internal/redistest"
)

// secretQueue and secretID are names that must not stand anywhere in an encrypted store.
const (
	secretQueue = "queue-marker-27182"
	secretID    = "id-marker-14142"
)

// enqueue puts jobs into a queue that nobody who lacks a key may know of.
func (v *vault) enqueue() {
	v.t.Helper()
	v.rq(`
q = queue('` + secretQueue + `')
for i in range(5):
    q.enqueue('tasks.note', '` + marker + `', job_id='` + secretID + `-%d' % i)
c.set('key-marker-16180', 'x')
`)
}

// operator makes an identity file, and returns it with its recipient.
func (v *vault) operator(name string) (file, recipient string) {
	v.t.Helper()
	file = filepath.Join(v.t.TempDir(), name)
	r := v.want(0, "key", "identity", file)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		v.t.Errorf("the identity's file: %v, %v", info, err)
	}
	return file, strings.TrimSpace(r.out)
}

// encrypted is a vault with keys for one operator, and jobs.
func encrypted(t testing.TB) (v *vault, identity, recipient string) {
	t.Helper()
	v = newVault(t)
	identity, recipient = v.operator("ada")
	v.want(0, "key", "new", recipient)
	v.enqueue()
	return v, identity, recipient
}

// files reads every file of the store.
func (v *vault) files() map[string][]byte {
	v.t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(v.store, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		all[strings.TrimPrefix(p, v.store+"/")] = b
		return err
	})
	if err != nil {
		v.t.Fatal(err)
	}
	return all
}

// objects are the paths of the newest snapshot's objects by their names.
func (v *vault) objects() map[string]string {
	v.t.Helper()
	found := map[string]string{}
	for _, p := range sortedKeys(v.files()) { // in order of age
		if strings.Contains(p, "/snapshots/") {
			found[filepath.Base(p)] = filepath.Join(v.store, p)
		}
	}
	return found
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// tool runs another program and returns what it prints.
func tool(t testing.TB, in []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(in)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s (tools/setup.sh test installs it): %v: %s", name, strings.Join(args, " "), err, &stderr)
	}
	return out.Bytes()
}

// rewrite replaces a stored file, which is read-only.
func rewrite(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// The whole way: nothing readable is stored, every command works with an identity, and none
// that needs what is inside without.
func TestAnEncryptedStoreIsOfNoUseWithoutAnIdentity(t *testing.T) {
	v, identity, _ := encrypted(t)
	v.backup()
	for path, b := range v.files() {
		for _, word := range []string{secretQueue, secretID, marker, "key-marker", "tasks.note"} {
			if bytes.Contains(b, []byte(word)) || strings.Contains(path, word) {
				t.Errorf("%s stands in %s", word, path)
			}
		}
	}
	other, _ := v.operator("eve")
	v.s.Do("FLUSHALL")
	for _, line := range [][]string{{"jobs"}, {"diff"}, {"restore"}, {"restore", "--apply"}, {"drill"}} {
		if r := v.want(8, line...); !strings.Contains(r.err, "no identity was given") || !strings.Contains(r.err, "--identity FILE") {
			t.Errorf("%s says %s", line, r.err)
		}
		if r := v.want(8, append(line, "--identity", other)...); !strings.Contains(r.err, "no identity that was given opens it") {
			t.Errorf("%s with another identity says %s", line, r.err)
		}
	}
	if r := v.want(0, "show"); !strings.Contains(r.out, "5 jobs") || !strings.Contains(r.out, "epoch 1") || strings.Contains(r.out, secretQueue) {
		t.Errorf("show without an identity: %s", r.out)
	}
	if r := v.want(0, "verify"); !strings.Contains(r.out, "stored whole") || !strings.Contains(r.out, "nobody looked inside") {
		t.Errorf("verify without an identity: %s", r.out)
	}
	if r := v.want(0, "snapshots"); !strings.Contains(r.out, "unopened") {
		t.Errorf("the list: %s", r.out)
	}
	v.want(8, "verify", "--identity", other)
	v.want(8, "show", "--identity", other)

	v.env = []string{"RQVAULT_IDENTITY_FILE=" + identity}
	if r := v.want(0, "verify"); !strings.Contains(r.out, "is whole") {
		t.Errorf("verify: %s", r.out)
	}
	if r := v.want(0, "show"); !strings.Contains(r.out, secretQueue) {
		t.Errorf("show: %s", r.out)
	}
	if r := v.want(0, "jobs", "--id", secretID+"-3"); !strings.Contains(r.out, secretQueue) {
		t.Errorf("jobs: %s", r.out)
	}
	v.want(0, "drill")
	v.want(0, "restore", "--apply", "--job", secretID+"-3")
	v.wantList(secretQueue, secretID+"-3")
	v.want(0, "restore", "--apply", "--keys", "key-*")
	v.restore(0)
	v.wantList(secretQueue, secretID+"-0", secretID+"-1", secretID+"-2", secretID+"-3", secretID+"-4")
	v.want(0, "diff")
	into := newVault(t)
	v.want(0, "restore", "--into", into.redis, "--apply")
	into.wantList(secretQueue, secretID+"-0", secretID+"-1", secretID+"-2", secretID+"-3", secretID+"-4")
}

// age and zstd of the distribution give back what Redis wrote.
func TestStockToolsOpenAnEncryptedSnapshot(t *testing.T) {
	v, identity, _ := encrypted(t)
	dir := t.TempDir()
	v.want(0, "backup", "--via", "bgsave")
	config, err := v.s.Client().ConfigGet(t.Context(), "d*").Result()
	if err != nil {
		t.Fatal(err)
	}
	dump, err := os.ReadFile(filepath.Join(config["dir"], config["dbfilename"]))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Operators []struct{ Identity string }
	}
	r := result{out: string(v.files()["keys/0001/0001.json"])}
	r.into(t, &doc)
	epoch := filepath.Join(dir, "epoch.txt")
	if err := os.WriteFile(epoch, tool(t, []byte(doc.Operators[0].Identity), "age", "-d", "-i", identity), 0o600); err != nil {
		t.Fatal(err)
	}
	objects := v.objects()
	raw := tool(t, tool(t, nil, "age", "-d", "-i", epoch, objects["dump.rdb.zst.age"]), "zstd", "-d", "-c")
	if !bytes.Equal(raw, dump) {
		t.Errorf("%d bytes came back of a dump of %d", len(raw), len(dump))
	}
	rdb := filepath.Join(dir, "dump.rdb")
	if err := os.WriteFile(rdb, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, nil, "redis-check-rdb", rdb)
	for _, name := range []string{"jobs.parquet.age", "keys.parquet.age"} {
		if b := tool(t, nil, "age", "-d", "-i", epoch, objects[name]); !bytes.HasPrefix(b, []byte("PAR1")) || !bytes.HasSuffix(b, []byte("PAR1")) {
			t.Errorf("%s is no Parquet file", name)
		}
	}
}

// A flipped bit anywhere in any object is damage, with an identity and without.
func TestDamageToAnEncryptedSnapshotIsFound(t *testing.T) {
	v, identity, _ := encrypted(t)
	v.backup()
	for name, path := range v.objects() {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for what, bad := range map[string][]byte{
			"its first byte": flip(b, 0), "its middle": flip(b, len(b)/2), "its last byte but one": flip(b, len(b)-2), "its end cut off": b[:len(b)-17],
		} {
			rewrite(t, path, bad)
			for _, with := range [][]string{nil, {"--identity", identity}} {
				r := v.want(5, append([]string{"verify", "--no-stamp"}, with...)...)
				if name != "manifest.json" && !strings.Contains(r.out, name) {
					t.Errorf("%s of %s: %s", what, name, r.out)
				}
			}
			if name == "dump.rdb.zst.age" {
				v.s.Do("FLUSHALL")
				v.want(5, "restore", "--apply", "--identity", identity, "--redis", v.redis)
			}
		}
		rewrite(t, path, b)
	}
	v.want(0, "verify", "--identity", identity)
	key := filepath.Join(v.store, "keys", "0001", "0001.json")
	b, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, key, flip(b, len(b)/2))
	v.want(5, "jobs", "--identity", identity)
	v.want(5, "backup", "--redis", v.redis)
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if r := v.want(7, "backup", "--via", "sync"); !strings.Contains(r.err, "keys are gone") {
		t.Errorf("a backup without the keys that were there: %s", r.err)
	}
}

func flip(b []byte, at int) []byte {
	bad := slices.Clone(b)
	bad[at] ^= 1
	return bad
}

// Rotation, more and fewer operators, with the snapshots of each time.
func TestKeysChangeAndSnapshotsStay(t *testing.T) {
	v, ada, _ := encrypted(t)
	v.backup()
	v.want(0, "key", "rotate", "--identity", ada)
	v.backup()
	var rows []struct{ Epoch int }
	v.want(0, "snapshots", "--json").into(t, &rows)
	if len(rows) != 2 || rows[0].Epoch != 1 || rows[1].Epoch != 2 {
		t.Errorf("epochs of the snapshots: %v", rows)
	}
	v.want(0, "verify", "--all", "--identity", ada)
	ben, recipient := v.operator("ben")
	v.want(8, "key", "add", recipient)
	v.want(0, "key", "add", recipient, "--identity", ada)
	v.want(0, "verify", "--all", "--identity", ben)
	v.want(0, "key", "remove", "--identity", ada, recipient)
	v.want(8, "verify", "--all", "--identity", ben)
	var epochs []struct {
		Epoch     int
		Operators []string
		Proven    *bool
	}
	v.want(0, "key", "list", "--json", "--identity", ada).into(t, &epochs)
	if len(epochs) != 2 || len(epochs[1].Operators) != 1 || epochs[0].Proven == nil || !*epochs[0].Proven {
		t.Errorf("the keys: %+v", epochs)
	}
	for code, lines := range map[int][][]string{
		2: {{"key", "new", recipient}, {"key", "add", "nobody", "--identity", ada}, {"key", "remove", recipient, "--identity", ada}, {"key", "ad"}, {"key", "identity", ada}},
		7: {{"backup", "--recipient", recipient}},
	} {
		for _, line := range lines {
			v.want(code, line...)
		}
	}
}

// Of an encrypted store, a backup that can read nothing still sees that Redis lost data.
func TestABackupWithoutASecretSeesAnOutage(t *testing.T) {
	v, identity, _ := encrypted(t)
	v.backup()
	v.s.Do("FLUSHALL")
	v.rq(`queue('other').enqueue('tasks.note', 1)`)
	if r := v.want(0, "backup", "--via", "sync"); !strings.Contains(r.err, "lost data since the last snapshot") {
		t.Errorf("the backup after a flush says %s", r.err)
	}
	if r := v.run("diff", "--identity", identity); r.code != 3 || !strings.Contains(r.out, "BUT") {
		t.Errorf("diff: exit %d\n%s%s", r.code, r.out, r.err)
	}
}

// Who wrote a snapshot is proven by a signature, which openssl can check too; damage, a
// wrong key and a forged manifest are three different things.
func TestSignaturesTellWhoWroteASnapshot(t *testing.T) {
	v, identity, _ := encrypted(t)
	dir := t.TempDir()
	signer, stranger := filepath.Join(dir, "signer"), filepath.Join(dir, "stranger")
	v.want(0, "key", "signer", signer)
	v.want(0, "key", "signer", stranger)
	v.want(0, "backup", "--via", "sync", "--sign-key", signer)
	trust := []string{"--verify-key", signer + ".pub"}
	v.want(0, append([]string{"verify", "--identity", identity}, trust...)...)
	v.want(0, "verify", "--verify-key", stranger+".pub", "--verify-key", signer+".pub")
	objects := v.objects()
	tool(t, nil, "openssl", "pkeyutl", "-verify", "-pubin", "-inkey", signer+".pub", "-rawin", "-in", objects["manifest.json"], "-sigfile", objects["manifest.sig"])

	if r := v.want(9, "verify", "--verify-key", stranger+".pub"); !strings.Contains(r.out, "forged") {
		t.Errorf("signed by another: %s", r.out)
	}
	good, err := os.ReadFile(objects["manifest.json"])
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, objects["manifest.json"], resealed(t, bytes.Replace(good, []byte(`"jobs": 5`), []byte(`"jobs": 4`), 1)))
	all := [][]string{{"verify", "--no-stamp"}, {"diff", "--identity", identity}, {"restore", "--apply", "--identity", identity}, {"show"}, {"jobs", "--identity", identity}, {"drill", "--identity", identity}}
	for _, line := range all {
		if r := v.want(9, append(slices.Clone(line), trust...)...); !strings.Contains(r.out+r.err, "forged") {
			t.Errorf("%s of a changed manifest: %s%s", line, r.out, r.err)
		}
	}
	v.want(5, "verify", "--no-stamp", "--identity", identity) // its details are of another
	rewrite(t, objects["manifest.json"], good)
	sig, err := os.ReadFile(objects["manifest.sig"])
	if err != nil || len(sig) != ed25519.SignatureSize {
		t.Fatalf("a signature of %d bytes, %v", len(sig), err)
	}
	rewrite(t, objects["manifest.sig"], flip(sig, 7))
	v.want(9, append([]string{"verify", "--no-stamp"}, trust...)...)
	v.want(0, "verify", "--no-stamp")
	if err := os.Remove(objects["manifest.sig"]); err != nil {
		t.Fatal(err)
	}
	for _, line := range all {
		if r := v.want(9, append(slices.Clone(line), trust...)...); !strings.Contains(r.out+r.err, "not signed") {
			t.Errorf("%s of an unsigned manifest: %s%s", line, r.out, r.err)
		}
	}
	if r := v.want(0, append([]string{"snapshots"}, trust...)...); !strings.Contains(r.out, "UNUSABLE") {
		t.Errorf("the list: %s", r.out)
	}
}

// resealed gives a changed document the digest that belongs to it.
func resealed(t testing.TB, b []byte) []byte {
	t.Helper()
	head, tail := []byte("{\n  \"digest\": \"sha256:"), []byte("\",")
	rest := b[len(head)+64+len(tail):]
	sum := sha256.Sum256(rest)
	return append(append(append(slices.Clone(head), hex.EncodeToString(sum[:])...), tail...), rest...)
}

// A store that had keys is warned of what is not encrypted in it.
func TestASnapshotThatIsNotEncryptedStandsOut(t *testing.T) {
	v := newVault(t)
	v.enqueue()
	v.backup()
	identity, recipient := v.operator("ada")
	if r := v.want(0, "verify"); strings.Contains(r.err, "not encrypted") {
		t.Errorf("before there were keys: %s", r.err)
	}
	v.want(0, "key", "new", recipient)
	v.want(0, "verify", "--all") // from before
	plain := newVault(t)
	plain.rq(`queue('x').enqueue('tasks.note', 1)`)
	plain.backup()
	for path, b := range plain.files() {
		to := filepath.Join(v.store, path)
		if path == "rqvault.json" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if r := v.want(0, "verify", "--identity", identity); !strings.Contains(r.err, "is not encrypted although the store has had keys") {
		t.Errorf("a plain snapshot in a store with keys: %s", r.err)
	}
}

// A passphrase and a key of SSH open as an identity does.
func TestAPassphraseAndAKeyOfSSHOpenAStore(t *testing.T) {
	v := newVault(t)
	v.enqueue()
	dir := t.TempDir()
	secret, wrong, private := filepath.Join(dir, "secret"), filepath.Join(dir, "wrong"), filepath.Join(dir, "id")
	for path, text := range map[string]string{secret: "correct horse\n", wrong: "battery staple\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tool(t, nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada@work", "-f", private)
	v.want(0, "key", "new", "--recipients-file", private+".pub", "--new-passphrase-file", secret)
	v.backup()
	v.want(0, "verify", "--passphrase-file", secret)
	v.want(8, "verify", "--passphrase-file", wrong)
	v.want(0, "verify", "--identity", private)
	v.want(0, "key", "rotate", "--passphrase-file", secret)
	v.want(2, "key", "rotate", "--identity", private)
	v.want(0, "key", "remove", "ada@work", "--passphrase-file", secret)
	v.want(8, "verify", "--identity", private)
}

// A drill that found differences says so in the store without naming what differed.
func TestWhatADrillFoundIsNotNamedBesideAnEncryptedSnapshot(t *testing.T) {
	v, identity, _ := encrypted(t)
	v.backup()
	staging := redistest.Start(t)
	g := newGate(t, staging.Socket(), "dump")
	g.arm(0, func() {
		staging.Do("SET", "key-marker-16180", "y")
		g.left = 1 << 30 // what was cut off only reads, and is asked again
	})
	if r := v.want(3, "drill", "--into", g.url(), "--identity", identity); !strings.Contains(r.out, "key-marker") {
		t.Errorf("the drill says %s", r.out)
	}
	failed := false
	for path, b := range v.files() {
		failed = failed || strings.Contains(path, "/drill-") && strings.HasSuffix(path, "-failed.json")
		if bytes.Contains(b, []byte("key-marker")) {
			t.Errorf("%s names the key", path)
		}
	}
	if !failed {
		t.Error("the drill is not stored")
	}
}
