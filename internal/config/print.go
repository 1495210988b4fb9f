package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"rqvault/internal/secret"
)

// redacted stands for every secret.
const redacted = "********"

// Print writes the configuration as it is in force, defaults and variables included, as a
// file that Parse reads. Secrets are blanked, in URLs too.
func (c *Config) Print() string {
	var b strings.Builder
	printStruct(&b, reflect.ValueOf(c).Elem(), 0)
	return b.String()
}

// JSON is what Print writes, as a JSON document.
func (c *Config) JSON() ([]byte, error) {
	var doc any
	if err := yaml.Unmarshal([]byte(c.Print()), &doc); err != nil {
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	return json.MarshalIndent(doc, "", "  ")
}

func printStruct(b *strings.Builder, v reflect.Value, depth int) {
	pad := strings.Repeat("  ", depth)
	for _, f := range fieldsOf(v.Type()) {
		at := v.Field(f.index)
		switch kind := kindOf(f.typ); {
		case kind != "":
			if text := printed(at, &f); text != "" {
				fmt.Fprintf(b, "%s%s: %s\n", pad, f.key, text)
			}
		case f.typ.Kind() == reflect.Map:
			if at.Len() == 0 {
				continue
			}
			fmt.Fprintf(b, "%s%s:\n", pad, f.key)
			for _, name := range names(at) {
				fmt.Fprintf(b, "%s  %s:\n", pad, quoted(name))
				printStruct(b, at.MapIndex(reflect.ValueOf(name)).Elem(), depth+2)
			}
		case !at.IsZero():
			fmt.Fprintf(b, "%s%s:\n", pad, f.key)
			printStruct(b, at, depth+1)
		}
	}
}

// names lists a map's keys in order.
func names(v reflect.Value) []string {
	var ns []string
	for _, k := range v.MapKeys() {
		ns = append(ns, k.String())
	}
	slices.Sort(ns)
	return ns
}

// printed is a value as the file has it; "" where there is nothing to say.
func printed(v reflect.Value, f *field) string {
	if f.secret() {
		if v.IsZero() {
			return ""
		}
		return quoted(redacted)
	}
	switch x := v.Interface().(type) {
	case string:
		if x == "" {
			return ""
		}
		return quoted(secret.WithoutPassword(x))
	case time.Duration:
		if x == 0 && f.tag.Get("default") == "" {
			return ""
		}
		return short(x)
	case []string:
		if len(x) == 0 {
			return ""
		}
		texts := make([]string, len(x))
		for i, t := range x {
			texts[i] = quoted(t)
		}
		return "[" + strings.Join(texts, ", ") + "]"
	case map[string]string:
		if len(x) == 0 {
			return ""
		}
		var pairs []string
		for _, k := range slices.Sorted(maps.Keys(x)) {
			pairs = append(pairs, quoted(k)+": "+quoted(x[k]))
		}
		return "{" + strings.Join(pairs, ", ") + "}"
	default:
		return fmt.Sprint(x)
	}
}

// short writes a duration without the zeros at its end.
func short(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// quoted writes a text so that no reader takes it for something else.
func quoted(s string) string {
	plain := s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-", r))
	})
	if _, err := strconv.ParseFloat(s, 64); plain && err != nil && !slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off"}, strings.ToLower(s)) && s[0] != '-' {
		return s
	}
	return strconv.Quote(s)
}

// Default is a file to begin with: every key with what it is, those that most people set
// as they would be, all others as comments with their defaults.
func Default() string {
	var b strings.Builder
	b.WriteString("# This is rqvault.yml: what rqvault keeps safe, where, and when. Every key is optional but stores\n" +
		"# and sources. Each stands for a variable too: sources.main.redis is RQVAULT_SOURCES_MAIN_REDIS.\n" +
		"# A secret can be read from a file: redis_password_file, RQVAULT_SOURCES_MAIN_REDIS_PASSWORD_FILE.\n" +
		"# Check it with: rqvault config check\n")
	defaultStruct(&b, reflect.TypeFor[Config](), 0)
	return b.String()
}

func defaultStruct(b *strings.Builder, t reflect.Type, depth int) {
	pad := strings.Repeat("  ", depth)
	for _, f := range fieldsOf(t) {
		if depth == 0 {
			b.WriteString("\n")
		}
		doc := f.tag.Get("doc")
		if one := f.oneOf(); one != nil {
			doc += ": " + strings.Join(one, ", ")
		}
		if word, _, _ := strings.Cut(doc, " "); !strings.Contains(word, "://") {
			doc = strings.ToUpper(doc[:1]) + doc[1:]
		}
		fmt.Fprintf(b, "%s# %s\n", pad, doc)
		switch kind := kindOf(f.typ); {
		case kind == "" && f.typ.Kind() == reflect.Map:
			if f.tag.Get("none") == "true" {
				fmt.Fprintf(b, "%s# %s: {}\n", pad, f.key)
				continue
			}
			fmt.Fprintf(b, "%s%s:\n%s  main:\n", pad, f.key, pad)
			defaultStruct(b, f.typ.Elem().Elem(), depth+2)
		case kind == "":
			fmt.Fprintf(b, "%s%s:\n", pad, f.key)
			defaultStruct(b, f.typ, depth+1)
		case f.tag.Get("example") != "":
			example := f.tag.Get("example")
			if kind == Text {
				example = quoted(example)
			}
			fmt.Fprintf(b, "%s%s: %s\n", pad, f.key, example)
		default:
			fmt.Fprintf(b, "%s# %s: %s\n", pad, f.key, strings.TrimSpace(blank(kind, f.tag.Get("default"))))
		}
	}
}

// blank is a default as the file would have it.
func blank(kind Kind, value string) string {
	switch {
	case value != "" && kind == Text:
		return quoted(value)
	case value != "":
		return value
	case kind == Number:
		return "0"
	case kind == Switch:
		return "false"
	case kind == List:
		return "[]"
	case kind == Map:
		return "{}"
	case kind == Duration:
		return "0s"
	}
	return `""`
}
