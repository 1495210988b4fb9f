package config

import (
	"reflect"
	"strings"
	"time"
)

// Key is one key of the file that has a value of its own.
type Key struct {
	Path    string // such as sources.NAME.schedule.backup
	Kind    Kind
	Doc     string
	Default string
	Example string
	OneOf   []string
	Secret  bool
}

// Kind is what sort of value a key has.
type Kind string

// The kinds.
const (
	Text     Kind = "text"
	Number   Kind = "number"
	Switch   Kind = "true or false"
	Duration Kind = "duration"
	List     Kind = "list of texts"
	Map      Kind = "map of texts"
)

// anyName stands in a path for the name that a person chose.
const anyName = "NAME"

// field is one field of a struct of this package, as its tags describe it.
type field struct {
	index int
	key   string
	typ   reflect.Type
	tag   reflect.StructTag
}

func fieldsOf(t reflect.Type) []field {
	var fs []field
	for i := range t.NumField() {
		f := t.Field(i)
		fs = append(fs, field{i, f.Tag.Get("yaml"), f.Type, f.Tag})
	}
	return fs
}

func (f *field) secret() bool { return f.tag.Get("secret") == "true" }

// oneOf lists the values that a field may have; nil for any.
func (f *field) oneOf() []string {
	if one := f.tag.Get("one"); one != "" {
		return strings.Fields(one)
	}
	return nil
}

var durationType = reflect.TypeFor[time.Duration]()

// kindOf is the kind of a type with a value of its own; "" for one that holds others.
func kindOf(t reflect.Type) Kind {
	switch {
	case t == durationType:
		return Duration
	case t.Kind() == reflect.String:
		return Text
	case t.Kind() == reflect.Int:
		return Number
	case t.Kind() == reflect.Bool:
		return Switch
	case t.Kind() == reflect.Slice:
		return List
	case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.String:
		return Map
	}
	return ""
}

// Keys lists every key, in the order of the file, with NAME for what people name.
func Keys() []Key {
	var keys []Key
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		for _, f := range fieldsOf(t) {
			p := strings.TrimPrefix(path+"."+f.key, ".")
			switch {
			case kindOf(f.typ) != "":
				keys = append(keys, Key{p, kindOf(f.typ), f.tag.Get("doc"), f.tag.Get("default"), f.tag.Get("example"), f.oneOf(), f.secret()})
			case f.typ.Kind() == reflect.Map:
				walk(f.typ.Elem().Elem(), p+"."+anyName)
			default:
				walk(f.typ, p)
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
	return keys
}

// Variable is the name of the environment variable for a path: RQVAULT_, then the path in
// capitals with _ for each sign that is neither letter nor digit.
func Variable(path string) string {
	return "RQVAULT_" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r - 'a' + 'A'
		}
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, path)
}
