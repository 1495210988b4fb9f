package config

import (
	"encoding/json"
	"reflect"
)

// Schema is a JSON Schema (draft 2020-12) of the file, for editors. Parse checks more.
func Schema() ([]byte, error) {
	s := schemaOf(reflect.TypeFor[Config]())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "rqvault.yml"
	s["required"] = []string{"stores", "sources"}
	return json.MarshalIndent(s, "", "  ")
}

func schemaOf(t reflect.Type) map[string]any {
	properties := map[string]any{}
	for _, f := range fieldsOf(t) {
		var p map[string]any
		switch kind := kindOf(f.typ); {
		case kind != "":
			p = schemaValue(kind, f.oneOf())
			if d := f.tag.Get("default"); d != "" {
				p["default"] = d
			}
		case f.typ.Kind() == reflect.Map:
			p = map[string]any{"type": "object", "additionalProperties": schemaOf(f.typ.Elem().Elem())}
		default:
			p = schemaOf(f.typ)
		}
		p["description"] = f.tag.Get("doc")
		properties[f.key] = p
		if f.secret() {
			properties[f.key+"_file"] = map[string]any{"type": "string", "description": "file that holds " + f.key}
		}
	}
	return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
}

func schemaValue(kind Kind, one []string) map[string]any {
	text := map[string]any{"type": "string"}
	if one != nil {
		text["enum"] = one
	}
	switch kind {
	case Number:
		return map[string]any{"type": "integer", "minimum": 0}
	case Switch:
		return map[string]any{"type": "boolean"}
	case Duration:
		return map[string]any{"type": "string", "pattern": `^([0-9]+d|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`}
	case List:
		return map[string]any{"type": "array", "items": text}
	case Map:
		return map[string]any{"type": "object", "additionalProperties": text}
	}
	return text
}
