// Package settings fills a struct from a YAML file, the environment and flags, strictly: what it does not
// know is a mistake, and every mistake says where it stands and what would be right. It remembers
// where each value came from. What the values mean is for the struct's owner to check.
//
// A field's name is its yaml tag; fields of structs nest, those tagged ",inline" do not. A path is the
// names on the way to a value: retain.age, auth.keys[0].alg. The tag "as" gives a value a meaning beyond
// its type:
//
//	as:"size"    an integer that may be written 64KiB, in bytes
//	as:"path"    a file; relative to the file that names it. Fields called file or *_file need no tag
//	as:"secret"  never shown. Fields called secret, password, token or hash need no tag
//
// The tag words lists what is no path in an as:"path", and flag gives a key another name as a flag
// and in the environment.
package settings

import (
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Set is a struct that is being filled. It is used by one goroutine at a time.
type Set struct {
	target  reflect.Value // the struct
	origins map[string]string
}

// New makes a set of target, a pointer to a struct that holds the defaults.
func New(target any) *Set {
	return &Set{target: reflect.ValueOf(target).Elem(), origins: make(map[string]string)}
}

// Default is the origin of what nobody has set.
const Default = "default"

// Origin says where the value at a path came from: a file and line, an environment variable, a flag or
// Default. What was set as part of something greater came from where that did.
func (s *Set) Origin(path string) string {
	for {
		if o, ok := s.origins[path]; ok {
			return o
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return Default
		}
		path = path[:i]
	}
}

// Mistake is one about the value at a path, which stands where that came from.
func (s *Set) Mistake(path, text string) Mistake {
	switch origin := s.Origin(path); {
	case strings.HasPrefix(origin, "--"):
		return Mistake{Where: origin, Text: text}
	case isVariable(origin):
		return Mistake{Where: origin, Text: text}
	case origin == Default:
		return Mistake{Path: path, Text: text}
	default:
		return Mistake{Where: origin, Path: path, Text: text}
	}
}

// isVariable says whether an origin is in the environment.
func isVariable(origin string) bool { return strings.HasPrefix(origin, "PARLEY_") }

// Put sets a value that is written as one text, as in a flag; a list has commas between its parts.
func (s *Set) Put(path, text, origin string) error {
	for _, k := range s.Keys() {
		if k.Path != path {
			continue
		}
		if i := slices.Index([]string{"0", "1"}, text); i >= 0 && k.Type() == "bool" {
			text = strconv.FormatBool(i == 1) // as the environment often has it
		}
		if err := setText(k.value, k.field, text); err != nil {
			return Mistakes{{Where: origin, Text: plain(err)}}
		}
		k.attach()
		s.forget(path)
		s.origins[path] = origin
		return nil
	}
	return Mistakes{{Where: origin, Text: "there is no setting " + path}}
}

// forget drops what is known about the parts of a value that is replaced.
func (s *Set) forget(path string) {
	for p := range s.origins {
		if strings.HasPrefix(p, path+"[") || strings.HasPrefix(p, path+".") {
			delete(s.origins, p)
		}
	}
}

// maxFile bounds a file that is read for a value or as a configuration, in bytes.
const maxFile = 1 << 20

// Environment sets what the environment says: PARLEY_RETAIN_AGE sets retain.age, and
// PARLEY_RETAIN_AGE_FILE names a file that holds it. An empty variable sets only a text.
func (s *Set) Environment(lookup func(string) (string, bool)) error {
	var found Mistakes
	keys := s.Keys()
	variables := make(map[string]bool)
	for _, k := range keys {
		variables[k.Variable()] = true
	}
	for _, k := range keys {
		name := k.Variable()
		text, ok := lookup(name)
		if file, is := lookup(name + "_FILE"); is && file != "" && !variables[name+"_FILE"] {
			if ok && text != "" {
				found = append(found, Mistake{Where: name, Text: "is set, and so is " + name + "_FILE: one of them is enough"})
				continue
			}
			content, err := readFile(file)
			if err != nil {
				found = append(found, Mistake{Where: name + "_FILE", Text: err.Error()})
				continue
			}
			name, text, ok = name+"_FILE", strings.TrimRight(string(content), "\r\n"), true
		}
		if !ok || text == "" && k.value.Kind() != reflect.String {
			continue
		}
		found.Add(s.Put(k.Path, text, name))
	}
	return found.Err()
}

// readFile reads a small file.
func readFile(name string) ([]byte, error) {
	data, err := os.ReadFile(name)
	if err == nil && len(data) > maxFile {
		err = &os.PathError{Op: "read", Path: name, Err: errTooLarge}
	}
	return data, err
}
