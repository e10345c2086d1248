package auth_test

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"parley/auth"
)

func TestGroupsAreReadStrictly(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{ // part of the error, or "" and it is written again as it is
		`{ops: [{rooms: ops.**, may: [join, send]}], staff: [{rooms: lobby, may: [join]}]}`: "",
		`{}`:                                                "",
		`{ops: [{rooms: lobby, may: [fly]}]}`:               `the group "ops": line 1: no right "fly"`,
		`{ops: [{rooms: "a*", may: [join]}]}`:               `"a*" is no pattern`,
		`{ops: [{room: lobby, may: [join]}]}`:               `no "room"`,
		`{ops: [{rooms: lobby, may: [join], except: [x]}]}`: `no "except"`,
		`{ops: [{rooms: lobby}]}`:                           "no rights",
		`{ops: [{may: [join]}]}`:                            "no rooms",
		`{ops: {rooms: lobby, may: [join]}}`:                "a list of grants",
		`{ops: [lobby]}`:                                    "rooms and may",
		`[ops]`:                                             "names of groups",
		"ops: [{rooms: lobby, may: [join]}]\nops: [{rooms: lobby, may: [send]}]\n": "stands here twice",
	} {
		var groups auth.Groups
		err := yaml.Unmarshal([]byte(text), &groups)
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q in it", text, err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if again, err := yaml.Marshal(groups); err != nil || strings.TrimSpace(string(again)) != text {
			t.Errorf("%s became %s, %v", text, again, err)
		}
	}
}
