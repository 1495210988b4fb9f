package rq_test

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/rq"
)

func TestParseTime(t *testing.T) {
	at := time.Date(2026, 11, 23, 6, 32, 30, 111182000, time.UTC)
	for text, want := range map[string]int64{
		"": 0, "2026-11-23T06:32:30.111182Z": at.UnixMicro(), "2026-11-23T06:32:30Z": at.Truncate(time.Second).UnixMicro(),
		"2026-11-23T06:32:30.1Z": at.Truncate(time.Second).UnixMicro() + 100_000, "1970-01-01T00:00:00.000001Z": 1,
		"1969-12-31T23:59:59.999999Z": -1, "9999-12-31T23:59:59.999999Z": 253402300799999999,
	} {
		if got, ok := rq.ParseTime([]byte(text)); got != want || !ok {
			t.Errorf("ParseTime(%q): got %d, %v, want %d", text, got, ok, want)
		}
	}
	// Whatever raises in RQ's utcparse makes the worker exit, so it must not pass here.
	for _, text := range []string{
		" ", "now", "None", "1700000000", "1700000000.5", "2026-11-23", "2026-11-23T06:32:30", "2026-11-23 06:32:30.111182",
		"2026-11-23T06:32:30.111182", "2026-11-23T06:32:30.111182+00:00", "2026-11-23T06:32:30.Z", "2026-11-23T06:32:30,111182Z",
		"2026-11-23T06:32:30.1111821Z", "2026-11-23T06:32:30.111182000Z", "2026-11-23t06:32:30.111182z", "2026-13-01T00:00:00.000000Z",
		"2026-02-30T00:00:00.000000Z", "2026-11-23T24:00:00.000000Z", " 2026-11-23T06:32:30.111182Z", "2026-11-23T06:32:30.111182Z ",
		"2026-11-23T06:32:30.111182Z\n", "2026-11-23T06:32:30.111182ZZ", "-2026-11-23T06:32:30.111182Z", "20261123T063230.111182Z",
		"0000-01-01T00:00:00.000000Z", "2026-11-23T06:32:30.-11182Z", "2026-11-23T06:32:30.+11182Z", "\x00", "2026-11-23T06:32:30.111182Z\x00",
	} {
		if got, ok := rq.ParseTime([]byte(text)); ok {
			t.Errorf("ParseTime(%q): got %d, want a refusal, as RQ gives", text, got)
		}
	}
	for _, at := range []time.Time{at, at.Truncate(time.Second), at.In(time.FixedZone("x", 3600)), time.Unix(0, 1000)} {
		text := rq.FormatTime(at)
		if got, ok := rq.ParseTime([]byte(text)); !ok || got != at.UnixMicro() || len(text) != 27 {
			t.Errorf("%s is written as %q and read as %d, %v", at, text, got, ok)
		}
	}
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"", "2026-11-23T06:32:30.111182Z", "2026-11-23T06:32:30Z", "2026-11-23T6:32:30.1Z", "2026-11-23T06:32:30,5Z"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		at, ok := rq.ParseTime(b)
		if !ok {
			return
		}
		if len(b) == 0 {
			if at != 0 {
				t.Errorf("nothing was read as %d", at)
			}
			return
		}
		again, ok := rq.ParseTime([]byte(rq.FormatTime(time.UnixMicro(at))))
		if !ok || again != at {
			t.Errorf("%q is %d, written and read again %d, %v", b, at, again, ok)
		}
		if bytes.ContainsAny(b, ", +") || len(b) > 27 {
			t.Errorf("%q was taken for a time", b)
		}
	})
}

const secret = "s3cr3t"

func filled(t testing.TB, fields ...string) job.Row {
	t.Helper()
	var row job.Row
	for i := 0; i < len(fields); i += 2 {
		if !schema.Wants([]byte(fields[i])) {
			t.Errorf("field %s is not wanted", fields[i])
		}
		schema.Fill(&row, nil, []byte(fields[i]), []byte(fields[i+1]))
	}
	return row
}

func TestFillEveryField(t *testing.T) {
	const at = "2026-11-23T06:32:30.111182Z"
	us, _ := rq.ParseTime([]byte(at))
	for _, c := range []struct {
		field, value string
		want         job.Row
	}{
		{"data", "", job.Row{Exists: true}},
		{"data", secret, job.Row{Exists: true}},
		{"status", "queued", job.Row{Status: job.Queued}},
		{"status", "ready_to_enqueue", job.Row{Status: job.Ready}},
		{"status", "", job.Row{}},
		{"origin", "q", job.Row{Queue: "q"}},
		{"created_at", at, job.Row{CreatedAt: us}},
		{"enqueued_at", at, job.Row{EnqueuedAt: us}},
		{"started_at", at, job.Row{StartedAt: us}},
		{"started_at", "", job.Row{}},
		{"ended_at", at, job.Row{EndedAt: us}},
		{"last_heartbeat", at, job.Row{HeartbeatAt: us}},
		{"timeout", "180", job.Row{Timeout: 180}},
		{"timeout", "-1", job.Row{Timeout: -1}},
		{"ttl", "600", job.Row{TTL: 600}},
		{"result_ttl", "0", job.Row{HasResultTTL: true}},
		{"result_ttl", "-1", job.Row{ResultTTL: -1, HasResultTTL: true}},
		{"result_ttl", "", job.Row{}},
		{"failure_ttl", "-1", job.Row{FailureTTL: -1, HasFailureTTL: true}},
		{"retries_left", "3", job.Row{RetriesLeft: 3}},
		{"repeats_left", "2", job.Row{RepeatsLeft: 2}},
		{"enqueue_at_front", "1", job.Row{AtFront: true}},
		{"enqueue_at_front", "0", job.Row{}},
		{"allow_dependency_failures", "1", job.Row{AllowParentFailed: true}},
		{"dependency_id", "p", job.Row{Parents: []string{"p"}}},
		{"dependency_ids", `["p", "q:r"]`, job.Row{Parents: []string{"p", "q:r"}}},
		{"dependency_ids", `[]`, job.Row{}},
		{"dependency_ids", ``, job.Row{}},
		{"group_id", "g", job.Row{Group: "g"}},
		{"worker_name", "w", job.Row{Worker: "w"}},
		{"description", "pkg.mod.f(1, 's3cr3t')", job.Row{Func: "pkg.mod.f"}},
	} {
		if got := filled(t, c.field, c.value); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s=%q: got %+v, want %+v", c.field, c.value, got, c.want)
		}
	}
	for _, field := range []string{"meta", "result", "exc_info", "success_callback_name", "datas", "", "Status"} {
		if schema.Wants([]byte(field)) {
			t.Errorf("field %q is wanted", field)
		}
	}
}

func TestJunkIsNamedAndNotQuoted(t *testing.T) {
	many := `["` + strings.Repeat(`x","`, 5000) + `x"]`
	for field, values := range map[string][]string{
		"status":                    {secret, "QUEUED", "queued ", "unknown", "exploded"},
		"created_at":                {secret, "1700000000", "-1", "0", "2026-11-23"},
		"enqueued_at":               {secret, "1700000000", "7"},
		"started_at":                {secret, "1700000000"},
		"ended_at":                  {secret, "1700000000", "12"},
		"last_heartbeat":            {secret, "1700000000", "1700000000.25"},
		"timeout":                   {secret, "1.5", "None", "1h", "99999999999999999999"},
		"ttl":                       {secret, "6e2"},
		"result_ttl":                {secret, "0x10"},
		"retries_left":              {secret, "one"},
		"repeats_left":              {secret, "1,000"},
		"enqueue_at_front":          {secret, "True"},
		"allow_dependency_failures": {secret, "yes"},
		"dependency_ids":            {secret, "{}", `["s3cr3t"`, `[1]`, `"p"`, many},
	} {
		for _, v := range values {
			row := filled(t, field, v)
			if row.Problem != "unreadable field "+field {
				t.Errorf("%s=%.40q: got problem %q, want one that names the field", field, v, row.Problem)
			}
			if strings.Contains(fmt.Sprintf("%+v", row), secret) {
				t.Errorf("%s: the value is in the row: %+v", field, row)
			}
		}
	}
	row := filled(t, "timeout", "junk", "created_at", "junk")
	if row.Problem != "unreadable field timeout" {
		t.Errorf("two bad fields: got problem %q, want the first", row.Problem)
	}
}

func TestParentsInEitherOrder(t *testing.T) {
	for _, fields := range [][]string{
		{"dependency_id", "a", "dependency_ids", `["a","b"]`}, {"dependency_ids", `["a","b"]`, "dependency_id", "a"},
	} {
		if got := filled(t, fields...).Parents; !reflect.DeepEqual(got, []string{"a", "b"}) {
			t.Errorf("%v: got parents %q, want a and b", fields, got)
		}
	}
}

func TestDescriptionGivesOnlyTheName(t *testing.T) {
	for description, want := range map[string]string{
		"pkg.mod.f('s3cr3t')": "pkg.mod.f", "f()": "f", "f(": "f", "pkg.mod.Class.method(s3cr3t=1)": "pkg.mod.Class.method",
		"f": "", "": "", "(s3cr3t)": "", "send s3cr3t (now)": "", "4111s3cr3t(x)": "", "<lambda>(s3cr3t)": "", "s3cr3t": "",
		"a-b(s3cr3t)": "", "s3cr3t, then f(x)": "", strings.Repeat("a", 300) + "(1)": "", "naïve.f(1)": "naïve.f",
	} {
		row := filled(t, "description", description)
		if row.Func != want {
			t.Errorf("description %.40q: got func %q, want %q", description, row.Func, want)
		}
		if strings.Contains(fmt.Sprintf("%+v", row), secret) {
			t.Errorf("description %.40q leaks into %+v", description, row)
		}
	}
	if got := filled(t, "description", "f(1)", "description", "a note by hand").Func; got != "f" {
		t.Errorf("got func %q, want f", got)
	}
}

// pickles are of ("myapp.tasks.send_mail", None, ("s3cr3t-arg", 7), {"password": "s3cr3t-kw"}),
// made by python 3.11, pickle.dumps(call, protocol=p).
var pickles = map[int]string{
	0: "28566d796170702e7461736b732e73656e645f6d61696c0a70300a4e28567333637233742d6172670a70310a49370a7470320a286470330a5670617373776f72640a70340a567333637233742d6b770a70350a737470360a2e",
	1: "2858150000006d796170702e7461736b732e73656e645f6d61696c71004e28580a0000007333637233742d61726771014b077471027d7103580800000070617373776f7264710458090000007333637233742d6b777105737471062e",
	2: "80022858150000006d796170702e7461736b732e73656e645f6d61696c71004e580a0000007333637233742d61726771014b078671027d7103580800000070617373776f7264710458090000007333637233742d6b777105737471062e",
	3: "80032858150000006d796170702e7461736b732e73656e645f6d61696c71004e580a0000007333637233742d61726771014b078671027d7103580800000070617373776f7264710458090000007333637233742d6b777105737471062e",
	4: "8004954800000000000000288c156d796170702e7461736b732e73656e645f6d61696c944e8c0a7333637233742d617267944b0786947d948c0870617373776f7264948c097333637233742d6b77947374942e",
	5: "8005954800000000000000288c156d796170702e7461736b732e73656e645f6d61696c944e8c0a7333637233742d617267944b0786947d948c0870617373776f7264948c097333637233742d6b77947374942e",
}

const jsonCall = `["myapp.tasks.send_mail", null, ["s3cr3t-arg", 7], {"password": "s3cr3t-kw"}]`

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func deflate(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func funcOf(payload []byte) string {
	var row job.Row
	schema.FillFunc(&row, payload)
	return row.Func
}

func TestFunctionOfPayload(t *testing.T) {
	payloads := map[string][]byte{"json": []byte(jsonCall)}
	for p, h := range pickles {
		payloads[fmt.Sprintf("pickle %d", p)] = unhex(t, h)
	}
	for name, plain := range payloads {
		want := "myapp.tasks.send_mail"
		if name == "pickle 0" || name == "pickle 1" {
			want = "" // RQ never wrote these
		}
		for how, b := range map[string][]byte{"plain": plain, "deflated": deflate(t, plain)} {
			if got := funcOf(b); got != want {
				t.Errorf("%s %s: got %q, want %q", how, name, got, want)
			}
			// The builder keeps only the beginning of a payload; every cut must end in the
			// right name or none, and never in something else.
			for n := range b {
				if got := funcOf(b[:n]); got != "" && got != want {
					t.Errorf("%s %s cut at %d: got %q", how, name, n, got)
				}
			}
		}
	}
	// A long payload whose beginning is all there is.
	long := deflate(t, append(unhex(t, pickles[5]), []byte(strings.Repeat("0123456789abcdef", 1<<16))...))
	if got := funcOf(long[:min(len(long), 1024)]); got != "myapp.tasks.send_mail" {
		t.Errorf("beginning of a long payload: got %q", got)
	}
	for _, junk := range []string{"", "\x80", "\x80\x04", "\x80\x04\x95", "[", `["`, `["a b", null]`, `[""]`, `["` + strings.Repeat("a", 400) + `"]`,
		"\x80\x04(\x8c\xffabc", "\x80\x02(X\xff\xff\xff\xffabc", "\x80\x04(\x8c\x00", "\x80\x04(\x8c\x03a b", "\x78\x9c", "\x78\x9cjunk", "{}", `{"f": 1}`, "null"} {
		if got := funcOf([]byte(junk)); got != "" {
			t.Errorf("%.40q: got func %q, want none", junk, got)
		}
	}
}

func FuzzFunctionOfPayload(f *testing.F) {
	f.Add([]byte(jsonCall))
	f.Add(deflate(f, []byte(jsonCall)))
	for _, h := range pickles {
		f.Add(unhex(f, h))
		f.Add(deflate(f, unhex(f, h)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := funcOf(b); len(got) > 256 || strings.ContainsAny(got, " '\"(){}[]=,\n\x00") {
			t.Errorf("got func %q", got)
		}
	})
}

func FuzzFill(f *testing.F) {
	for field := range map[string]bool{"status": true, "created_at": true, "timeout": true, "dependency_ids": true, "dependency_id": true,
		"description": true, "result_ttl": true, "data": true} {
		f.Add([]byte(field), []byte("2026-11-23T06:32:30.111182Z"))
		f.Add([]byte(field), []byte(`["a"]`))
		f.Add([]byte(field), []byte("-1"))
	}
	f.Fuzz(func(t *testing.T, field, value []byte) {
		if !schema.Wants(field) {
			return
		}
		var row job.Row
		schema.Fill(&row, nil, field, value)
		if row.Problem != "" && row.Problem != "unreadable field "+string(field) {
			t.Errorf("%s=%q: got problem %q", field, value, row.Problem)
		}
		if row.Status != "" && row.Status != "unknown" && !row.Status.Known() {
			t.Errorf("%s=%q: got status %q", field, value, row.Status)
		}
	})
}

func TestDone(t *testing.T) {
	hash := []job.Part{{Name: job.HashPart}}
	for _, c := range []struct {
		name    string
		row     job.Row
		stub    bool
		problem string
	}{
		{"a job", job.Row{Exists: true, CreatedAt: 1, Parts: hash}, false, ""},
		{"a heartbeat on a hash that had vanished", job.Row{HeartbeatAt: 1, Parts: hash}, true, ""},
		{"only an id in a list", job.Row{Places: []job.Place{{Kind: job.InQueue}}}, false, ""},
		{"only results", job.Row{Parts: []job.Part{{Name: job.ResultsPart}}}, false, ""},
		{"a job without created_at", job.Row{Exists: true, Parts: hash}, false, "no created_at"},
		{"an earlier problem stays", job.Row{Exists: true, Parts: hash, Problem: "x"}, false, "x"},
	} {
		schema.Done(&c.row)
		if c.row.Stub != c.stub || c.row.Problem != c.problem {
			t.Errorf("%s: got stub %v, problem %q, want %v, %q", c.name, c.row.Stub, c.row.Problem, c.stub, c.problem)
		}
	}
}

func TestFillResult(t *testing.T) {
	for value, want := range map[string]int32{"1": 1, "2": 2, "4": 4, "5": 5, "": 0, "x": 0, "99999999999": 0} {
		var row job.Row
		schema.FillResult(&row, 1234, []byte("type"), []byte(value))
		schema.FillResult(&row, 1234, []byte("return_value"), []byte(secret))
		if row.ResultAt != 1234 || row.ResultType != want || strings.Contains(fmt.Sprintf("%+v", row), secret) {
			t.Errorf("type %q: got %d at %d, want %d at 1234", value, row.ResultType, row.ResultAt, want)
		}
	}
}

func TestEnqueueFields(t *testing.T) {
	at := time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)
	want := map[string]string{"status": "queued", "enqueued_at": "2026-11-23T06:00:00.000000Z"}
	if got := schema.Queue(at); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, f := range schema.VersionFields() {
		if !schema.Wants([]byte(f)) {
			t.Errorf("version field %s is not read into the index", f)
		}
	}
}

// A job that had succeeded is finished with the times that its worker would have written.
func TestFinishingAJob(t *testing.T) {
	ended := time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		row   job.Row
		now   time.Time
		until int64 // Unix seconds, 0 for ever
	}{
		"by default":            {job.Row{}, ended.Add(time.Second), ended.Unix() + 500},
		"as it says":            {job.Row{ResultTTL: 86400, HasResultTTL: true}, ended.Add(time.Second), ended.Unix() + 86400},
		"for ever":              {job.Row{ResultTTL: -1, HasResultTTL: true}, ended, 0},
		"its time has passed":   {job.Row{}, ended.Add(time.Hour), ended.Unix() + 3660},
		"it would keep nothing": {job.Row{HasResultTTL: true}, ended, ended.Unix() + 60},
	} {
		fields, score, expireAt := schema.Finish(&c.row, ended, c.now)
		if fields["status"] != "finished" || fields["ended_at"] != "2026-11-23T06:00:00.000000Z" || expireAt != c.until*1000 {
			t.Errorf("%s: got %v until %d, want %d", name, fields, expireAt, c.until*1000)
		}
		if c.until == 0 && !math.IsInf(score, 1) || c.until != 0 && score != float64(c.until) {
			t.Errorf("%s: score %v", name, score)
		}
	}
}

// A glance is enough where RQ wrote the hash, and the job neither runs nor waits for another.
func TestGlance(t *testing.T) {
	at := "2026-11-23T06:32:30.111182Z"
	for _, c := range []struct {
		values       []string // - is a field that is not there
		enough, ends bool
	}{
		{[]string{"queued", "q", at, "", "", at, ""}, true, false},
		{[]string{"queued", "q", at, "", "", "-", "-"}, true, false},
		{[]string{"finished", "q", at, at, at, at, at}, true, true},
		{[]string{"failed", "q", at, at, at, at, at}, true, true},
		{[]string{"stopped", "q", at, at, at, at, at}, true, true},
		{[]string{"scheduled", "q", at, "", "", "-", ""}, true, true},
		{[]string{"canceled", "q", at, "", "", at, ""}, true, true},
		{[]string{"started", "q", at, at, "", at, at}, false, false},
		{[]string{"deferred", "q", at, "", "", "-", ""}, false, false},
		{[]string{"created", "q", at, "", "", "-", ""}, false, false},
		{[]string{"exploded", "q", at, "", "", at, ""}, false, false},
		{[]string{"", "q", at, "", "", at, ""}, false, false},
		{[]string{"queued", "", at, "", "", at, ""}, false, false},
		{[]string{"queued", "q", "", "", "", at, ""}, false, false},
		{[]string{"-", "q", at, "", "", at, ""}, false, false},
		{[]string{"queued", "-", at, "", "", at, ""}, false, false},
		{[]string{"queued", "q", "-", "", "", at, ""}, false, false},
		{[]string{"queued", "q", at, "-", "", at, ""}, false, false},
		{[]string{"queued", "q", at, "", "-", at, ""}, false, false},
		{[]string{"-", "-", "-", "-", "-", "-", at}, false, false},
	} {
		var first [][]byte
		for _, v := range c.values {
			b := []byte(v)
			if v == "-" {
				b = nil
			}
			first = append(first, b)
		}
		if len(first) != (rq.Schema{}).FieldsAtFirst() {
			t.Fatalf("%q: a glance takes in %d fields", c.values, rq.Schema{}.FieldsAtFirst())
		}
		if enough, ends := (rq.Schema{}).Glance(first); enough != c.enough || ends != c.ends {
			t.Errorf("%q: got %v, %v, want %v, %v", c.values, enough, ends, c.enough, c.ends)
		}
	}
}
