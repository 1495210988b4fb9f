package config

import (
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"rqvault/internal/secret"
	"rqvault/internal/typo"
)

// ErrInvalid says that a configuration cannot be followed. The error lists every reason.
var ErrInvalid = errors.New("the configuration is not usable")

// Problem is one reason. Line is 0 where it is about a variable, or a key that is missing.
type Problem struct {
	Line int
	Path string
	Text string
}

func (p Problem) String() string {
	at := ""
	if p.Line > 0 {
		at = fmt.Sprintf("line %d: ", p.Line)
	}
	if p.Path != "" {
		at += p.Path + ": "
	}
	return at + p.Text
}

// echoes reports whether a problem may only be there because of an earlier one: about the
// same key, one in it or above it, or a name at the top that was mistyped.
func (p Problem) echoes(first Problem) bool {
	below := func(a, b string) bool { return strings.HasPrefix(a+".", b+".") }
	return below(p.Path, first.Path) || below(first.Path, p.Path) || p.Line == 0 && !strings.Contains(first.Path, ".")
}

// Invalid is the error with all its reasons.
type Invalid struct{ Problems []Problem }

func (e *Invalid) Error() string {
	texts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		texts[i] = p.String()
	}
	return ErrInvalid.Error() + ":\n" + strings.Join(texts, "\n")
}

// Is makes errors.Is know it.
func (e *Invalid) Is(target error) bool { return target == ErrInvalid }

// Environment is where variables and the files that they or keys name come from.
type Environment struct {
	Variables []string // NAME=value, as os.Environ has them
	ReadFile  func(name string) ([]byte, error)
	// Redis and Store say what is wrong with a URL; nil: nobody looks at them.
	Redis, Store func(url string) error
}

// System is the process's own.
func System() Environment {
	return Environment{Variables: os.Environ(), ReadFile: secret.ReadFile}
}

// reader turns a document into a Config and remembers where each key stood.
type reader struct {
	env      Environment
	lines    map[string]int  // of the keys that the file has, by path
	set      map[string]bool // paths that have a value, from the file or a variable
	problems []Problem
}

// Parse reads a file's content, lays the environment over it, fills in defaults and checks
// the whole. The error is an *Invalid with every problem found.
func Parse(b []byte, env Environment) (*Config, error) {
	r := &reader{env: env, lines: map[string]int{}, set: map[string]bool{}}
	var c Config
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, &Invalid{[]Problem{{Text: strings.TrimPrefix(err.Error(), "yaml: ")}}}
	}
	if len(doc.Content) > 0 && doc.Content[0].Tag != "!!null" {
		r.mapping(doc.Content[0], reflect.ValueOf(&c).Elem(), "")
	}
	r.variables(&c)
	r.defaults(reflect.ValueOf(&c).Elem(), "")
	first := r.problems
	r.problems = nil
	r.check(&c)
	r.problems = slices.DeleteFunc(r.problems, func(p Problem) bool { return slices.ContainsFunc(first, p.echoes) })
	r.problems = append(first, r.problems...)
	if len(r.problems) > 0 {
		slices.SortStableFunc(r.problems, func(a, b Problem) int { return a.Line - b.Line })
		return nil, &Invalid{r.problems}
	}
	return &c, nil
}

// Load reads a file.
func Load(name string, env Environment) (*Config, error) {
	b, err := env.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return Parse(b, env)
}

func (r *reader) complain(line int, path, format string, args ...any) {
	r.problems = append(r.problems, Problem{line, path, fmt.Sprintf(format, args...)})
}

// resolve follows aliases, and refuses what cannot be the kind of node that is wanted.
func (r *reader) resolve(n *yaml.Node, want yaml.Kind, what, path string) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == want {
		return n
	}
	if n.Tag == "!!null" {
		return nil
	}
	r.complain(n.Line, path, "must be %s", what)
	return nil
}

// mapping reads a node into a struct.
func (r *reader) mapping(n *yaml.Node, v reflect.Value, path string) {
	if n = r.resolve(n, yaml.MappingNode, "a map of keys", path); n == nil {
		return
	}
	fields := fieldsOf(v.Type())
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		p := strings.TrimPrefix(path+"."+key.Value, ".")
		if at, twice := seen[key.Value]; twice {
			r.complain(key.Line, p, "stands in line %d already", at)
			continue
		}
		seen[key.Value] = key.Line
		f, file := find(fields, key.Value)
		if f == nil {
			r.complain(key.Line, p, "there is no such key%s", suggestion(fields, key.Value))
			continue
		}
		r.lines[p] = key.Line
		r.value(value, v.Field(f.index), f, p, file)
	}
}

// find returns the field of a key; file says that the key is the twin that names a file.
func find(fields []field, key string) (f *field, file bool) {
	for i := range fields {
		switch {
		case fields[i].key == key:
			return &fields[i], false
		case fields[i].secret() && fields[i].key+"_file" == key:
			return &fields[i], true
		}
	}
	return nil, false
}

// suggestion names the key that is at most two slips of the finger away.
func suggestion(fields []field, word string) string {
	var names []string
	for _, f := range fields {
		names = append(names, f.key)
		if f.secret() {
			names = append(names, f.key+"_file")
		}
	}
	if near := typo.Nearest(word, names); near != "" {
		return "; did you mean " + near + "?"
	}
	return "; here are " + strings.Join(names, ", ")
}

// value reads a node into one field.
func (r *reader) value(n *yaml.Node, v reflect.Value, f *field, path string, file bool) {
	switch kind := kindOf(v.Type()); {
	case kind == List || kind == Map:
		r.several(n, v, f, path)
	case kind != "":
		if n = r.resolve(n, yaml.ScalarNode, "one value", path); n != nil && n.Tag != "!!null" {
			r.scalar(n.Line, n.Value, v, f, path, file)
		}
	case v.Kind() == reflect.Map:
		r.named(n, v, path)
	default:
		r.mapping(n, v, path)
	}
}

// named reads a map of structs that people named.
func (r *reader) named(n *yaml.Node, v reflect.Value, path string) {
	if n = r.resolve(n, yaml.MappingNode, "a map of names", path); n == nil {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		p := path + "." + key.Value
		if v.MapIndex(reflect.ValueOf(key.Value)).IsValid() {
			r.complain(key.Line, p, "stands there twice")
			continue
		}
		r.lines[p] = key.Line
		elem := reflect.New(v.Type().Elem().Elem())
		v.SetMapIndex(reflect.ValueOf(key.Value), elem)
		r.mapping(n.Content[i+1], elem.Elem(), p)
	}
}

// several reads a list of texts, or a map of them.
func (r *reader) several(n *yaml.Node, v reflect.Value, f *field, path string) {
	if v.Kind() == reflect.Slice {
		if n = r.resolve(n, yaml.SequenceNode, "a list, such as [a, b]", path); n == nil {
			return
		}
		for _, e := range n.Content {
			if e = r.resolve(e, yaml.ScalarNode, "a list of texts", path); e != nil {
				v.Set(reflect.Append(v, reflect.ValueOf(e.Value)))
			}
		}
		r.set[path] = true
		return
	}
	if n = r.resolve(n, yaml.MappingNode, "a map, such as {a: b}", path); n == nil {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		e := r.resolve(n.Content[i+1], yaml.ScalarNode, "one value", path+"."+key)
		if e == nil {
			continue
		}
		r.allowed(e.Line, path+"."+key, e.Value, f)
		v.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(e.Value))
	}
	r.set[path] = true
}

func (r *reader) allowed(line int, path, text string, f *field) {
	if text == "" && f.tag.Get("default") == "" {
		return
	}
	if one := f.oneOf(); one != nil && !slices.Contains(one, text) {
		r.complain(line, path, "%q is none of %s", text, strings.Join(one, ", "))
	}
}

// scalar reads a text into one field. A secret may be named by the file that holds it.
func (r *reader) scalar(line int, text string, v reflect.Value, f *field, path string, file bool) {
	target := path
	if file {
		target = strings.TrimSuffix(path, "_file")
		b, err := r.env.ReadFile(text)
		if err != nil {
			r.complain(line, path, "%v", err)
			return
		}
		text = strings.TrimRight(string(b), "\r\n")
	}
	if r.set[target] && line > 0 {
		r.complain(line, path, "both %s and %s_file are given", target, target)
		return
	}
	r.set[target] = true
	if err := assign(v, text); err != nil {
		r.complain(line, path, "%v", err)
		return
	}
	if v.Kind() == reflect.Map {
		for _, key := range names(v) {
			r.allowed(line, path, v.MapIndex(reflect.ValueOf(key)).String(), f)
		}
		return
	}
	r.allowed(line, path, text, f)
}

// duration reads one in Go's words, or in whole days: "14d".
func duration(text string) (time.Duration, error) {
	if days, is := strings.CutSuffix(text, "d"); is {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(text)
}

// assign sets a value from a text.
func assign(v reflect.Value, text string) error {
	switch kindOf(v.Type()) {
	case Duration:
		d, err := duration(text)
		if err != nil || d < 0 {
			return fmt.Errorf("%q is no duration such as 90s, 30m, 2h or 14d", text)
		}
		v.SetInt(int64(d))
	case Number:
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > math.MaxInt32 {
			return fmt.Errorf("%q is no count", text)
		}
		v.SetInt(int64(n))
	case Switch:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(b)
	case List:
		v.Set(reflect.ValueOf(strings.Fields(text)))
	case Map:
		v.Set(reflect.MakeMap(v.Type()))
		for pair := range strings.FieldsSeq(text) {
			key, value, ok := strings.Cut(pair, "=")
			if !ok {
				return fmt.Errorf("%q is no map such as a=b c=d", text)
			}
			v.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(value))
		}
	default:
		v.SetString(text)
	}
	return nil
}

// defaults fills in what neither the file nor the environment gave.
func (r *reader) defaults(v reflect.Value, path string) {
	for _, f := range fieldsOf(v.Type()) {
		p, at := strings.TrimPrefix(path+"."+f.key, "."), v.Field(f.index)
		switch {
		case kindOf(f.typ) != "":
			if d := f.tag.Get("default"); d != "" && !r.set[p] {
				_ = assign(at, d) // the tags are tested
			}
		case f.typ.Kind() == reflect.Map:
			for _, name := range at.MapKeys() {
				r.defaults(at.MapIndex(name).Elem(), p+"."+name.String())
			}
		default:
			r.defaults(at, p)
		}
	}
}
