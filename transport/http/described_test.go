package httpapi_test

import (
	"encoding/json"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"parley/transport/http"
)

// openapi is what the tests read of the description.
type openapi struct {
	Paths map[string]map[string]struct {
		Responses map[string]any `yaml:"responses"`
	} `yaml:"paths"`
}

func readOpenAPI(t *testing.T) openapi {
	t.Helper()
	var raw struct {
		Paths map[string]map[string]yaml.Node
	}
	file, _ := httpapi.Descriptions()
	if err := yaml.Unmarshal(file, &raw); err != nil {
		t.Fatal(err)
	}
	doc := openapi{Paths: make(map[string]map[string]struct {
		Responses map[string]any `yaml:"responses"`
	})}
	for path, item := range raw.Paths {
		doc.Paths[path] = make(map[string]struct {
			Responses map[string]any `yaml:"responses"`
		})
		for method, node := range item {
			if method == "parameters" {
				continue
			}
			op := doc.Paths[path][method]
			if err := node.Decode(&op); err != nil {
				t.Fatal(err)
			}
			doc.Paths[path][method] = op
		}
	}
	return doc
}

func TestEveryRouteIsDescribed(t *testing.T) {
	want := map[string][]string{"/ws": {"get"}} // of package ws
	for path, methods := range httpapi.Routes() {
		for _, m := range methods {
			want[path] = append(want[path], strings.ToLower(m))
		}
		slices.Sort(want[path])
	}
	got := map[string][]string{}
	for path, item := range readOpenAPI(t).Paths {
		got[path] = slices.Sorted(maps.Keys(item))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths (-served +described):\n%s", diff)
	}
}

// checkDocumented sees that a status which was met is described.
func checkDocumented(t *testing.T, method, target string, status int) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(u.EscapedPath(), "/")
	if len(parts) > 2 && parts[1] == "rooms" && parts[2] != "" {
		parts[2] = "{room}"
	}
	if len(parts) == 3 && parts[1] == "hooks" {
		parts[2] = "{name}"
	}
	if len(parts) > 4 && parts[3] == "jobs" {
		parts[4] = "{job}"
	}
	if len(parts) > 4 && (parts[3] == "groups" || parts[3] == "readers") {
		parts[4] = "{" + strings.TrimSuffix(parts[3], "s") + "}"
	}
	item, ok := readOpenAPI(t).Paths[strings.Join(parts, "/")]
	if !ok || method == "OPTIONS" {
		return // nothing is there, or every path has it
	}
	name := strings.ToLower(method)
	if name == "head" || item[name].Responses == nil { // 405 is the same for all
		name = "get"
	}
	if _, ok := item[name].Responses[strconv.Itoa(status)]; !ok {
		t.Errorf("%s %s answers %d, which is not described", method, target, status)
	}
}

// payload is what the tests read of a message in asyncapi.yaml.
type payload struct {
	Required   []string
	Properties map[string]any
}

func readAsyncAPI(t *testing.T) (frames map[string]payload, channels map[string]struct{ Messages map[string]any }) {
	t.Helper()
	var doc struct {
		Channels   map[string]struct{ Messages map[string]any }
		Components struct {
			Messages map[string]struct {
				Name    string
				Payload payload
			}
		}
	}
	_, file := httpapi.Descriptions()
	if err := yaml.Unmarshal(file, &doc); err != nil {
		t.Fatal(err)
	}
	frames = make(map[string]payload)
	for key, m := range doc.Components.Messages {
		if strings.TrimSuffix(key, "Op") != m.Name {
			t.Errorf("the message %s has the name %s", key, m.Name)
		}
		if _, ok := doc.Channels["session"].Messages[key]; !ok {
			t.Errorf("%s is in no channel", key)
		}
		frames[key] = m.Payload
	}
	return frames, doc.Channels
}

// TestEveryFrameIsDescribed holds the frames by example against the description, both ways.
func TestEveryFrameIsDescribed(t *testing.T) {
	frames, _ := readAsyncAPI(t)
	seen := map[string]map[string]bool{}
	meet := func(key, line string) {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) != nil {
			t.Fatalf("no frame: %s", line)
		}
		op, _ := fields["op"].(string)
		if key += op; len(key) > len(op) {
			key = op + "Op"
		}
		p, ok := frames[key]
		if !ok {
			t.Errorf("%s is not described", key)
			return
		}
		if seen[key] == nil {
			seen[key] = map[string]bool{}
		}
		for field := range fields {
			seen[key][field] = true
			if _, ok := p.Properties[field]; !ok && !strings.HasPrefix(field, "x") {
				t.Errorf("the field %s of %s is not described: %s", field, key, line)
			}
		}
		for _, field := range p.Required {
			if _, ok := fields[field]; !ok {
				t.Errorf("%s needs %s: %s", key, field, line)
			}
		}
	}
	var answers struct{ Frames []struct{ Line string } }
	var messages struct{ Messages []struct{ Line string } }
	readFrames(t, "answers.json", &answers)
	readFrames(t, "messages.json", &messages)
	for _, g := range answers.Frames {
		meet("", g.Line)
	}
	for _, g := range messages.Messages {
		meet("", g.Line)
	}
	for key, p := range frames {
		for field := range p.Properties {
			if !strings.HasSuffix(key, "Op") && !seen[key][field] {
				t.Errorf("no frame by example has the field %s of %s", field, key)
			}
		}
	}
	var operations struct {
		Operations []struct {
			Line  string
			Error string
			Want  map[string]any
		}
	}
	readFrames(t, "operations.json", &operations)
	ops := map[string]bool{}
	for _, g := range operations.Operations {
		if op, _ := g.Want["op"].(string); g.Error == "" {
			ops[op+"Op"] = true
		}
	}
	for op := range ops {
		if _, ok := frames[op]; !ok {
			t.Errorf("%s is not described", op)
		}
	}
}

func readFrames(t *testing.T, file string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "wire", "testdata", "frames", file))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

func TestDescriptionsAreServed(t *testing.T) {
	f := serve(t, httpapi.Config{})
	open, async := httpapi.Descriptions()
	for path, want := range map[string][]byte{"/openapi.yaml": open, "/asyncapi.yaml": async} {
		if a := f.ask("GET", path, ""); a.status != 200 || string(a.body) != string(want) || a.header.Get("Content-Type") != "application/yaml" {
			t.Errorf("%s: %d %v", path, a.status, a.header)
		}
	}
}
