package config

import (
	"reflect"
	"slices"
	"strings"
)

// variables lays the environment over what the file says. A variable stands for a key
// below a name that the file has: stores, sources and webhooks begin to exist in the file.
func (r *reader) variables(c *Config) {
	given := map[string]string{}
	for _, pair := range r.env.Variables {
		name, value, _ := strings.Cut(pair, "=")
		given[name] = value
	}
	used := map[string]bool{}
	r.overlay(reflect.ValueOf(c).Elem(), "", given, used)
	var stray []string
	for name := range given {
		for _, f := range fieldsOf(reflect.TypeFor[Config]()) {
			if strings.HasPrefix(name, Variable(f.key)+"_") && !used[name] {
				stray = append(stray, name)
			}
		}
	}
	slices.Sort(stray)
	for _, name := range stray {
		r.complain(0, "", "the variable %s stands for no key of this file", name)
	}
}

func (r *reader) overlay(v reflect.Value, path string, given map[string]string, used map[string]bool) {
	for _, f := range fieldsOf(v.Type()) {
		p, at := strings.TrimPrefix(path+"."+f.key, "."), v.Field(f.index)
		switch {
		case kindOf(f.typ) != "":
			r.variable(p, false, at, &f, given, used)
			if f.secret() {
				r.variable(p, true, at, &f, given, used)
			}
		case f.typ.Kind() == reflect.Map:
			for _, name := range at.MapKeys() {
				r.overlay(at.MapIndex(name).Elem(), p+"."+name.String(), given, used)
			}
		default:
			r.overlay(at, p, given, used)
		}
	}
}

func (r *reader) variable(path string, file bool, v reflect.Value, f *field, given map[string]string, used map[string]bool) {
	if file {
		path += "_file"
	}
	name := Variable(path)
	text, ok := given[name]
	if !ok {
		return
	}
	if file && used[strings.TrimSuffix(name, "_FILE")] {
		r.complain(0, "", "both %s and %s are given", strings.TrimSuffix(name, "_FILE"), name)
	}
	if used[name] {
		r.complain(0, "", "the variable %s stands for several keys: their names differ only in signs", name)
	}
	used[name] = true
	before := len(r.problems)
	r.scalar(0, text, v, f, path, file)
	for i := before; i < len(r.problems); i++ {
		r.problems[i].Path = name
	}
}
