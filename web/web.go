// Package web is the chat page: its files, embedded as they are written, and a handler that serves
// them with the headers that keep other people's messages from becoming part of the page.
//
// There is no build step. The page is ES modules and custom elements that import the JavaScript
// client from /parley.js; its source comes from the caller, so this package knows nothing of the
// protocol, of rooms or of the rest of the server.
package web

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed page
var files embed.FS

// policy lets the page load what this server serves, and nothing else: no inline script or style,
// no string that becomes markup, no frame around it.
const policy = "default-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; " +
	"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// types are those of the page's files; what is not here is not served.
var types = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// asset is one file as it goes out.
type asset struct {
	kind string // Content-Type
	tag  string // ETag, quotes included
	data []byte
}

func newAsset(name string, data []byte) asset {
	sum := sha256.Sum256(data)
	return asset{
		kind: types[path.Ext(name)],
		tag:  `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`,
		data: data,
	}
}

// Handler serves the page at /, its files under /page/ and the JavaScript client, whose source is
// given, at /parley.js. Browsers ask each time whether a file has changed, so that a page never
// mixes the modules of two versions. Anything else is 404. Errors look as those of the rest of the
// server do.
func Handler(client []byte) http.Handler {
	assets := map[string]asset{"/parley.js": newAsset("parley.js", client)}
	err := fs.WalkDir(files, "page", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || types[path.Ext(name)] == "" {
			return err
		}
		data, err := files.ReadFile(name)
		assets["/"+name] = newAsset(name, data)
		return err
	})
	if err != nil {
		panic("web: the embedded page cannot be read: " + err.Error())
	}
	assets["/"] = assets["/page/index.html"]
	delete(assets, "/page/index.html")
	// Browsers ask for this name unbidden.
	assets["/favicon.ico"] = assets["/page/favicon.svg"]

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed, "bad_request", "this page is only for reading")
			return
		}
		a, ok := assets[r.URL.Path]
		if !ok {
			refuse(w, http.StatusNotFound, "not_found", "there is nothing here; the chat is at /")
			return
		}
		w.Header().Set("Content-Type", a.kind)
		w.Header().Set("ETag", a.tag)
		w.Header().Set("Cache-Control", "no-cache")
		if unchanged(r, a.tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(a.data)))
		_, _ = w.Write(a.data) // a browser that has gone does not read it
	})
}

// unchanged says whether a browser has what it asks for already (RFC 9110, section 13.1.2).
func unchanged(r *http.Request, tag string) bool {
	for _, tags := range r.Header["If-None-Match"] {
		for known := range strings.SplitSeq(tags, ",") {
			if known = strings.TrimSpace(known); known == "*" || strings.TrimPrefix(known, "W/") == tag {
				return true
			}
		}
	}
	return false
}

// refuse answers with a problem (RFC 9457).
func refuse(w http.ResponseWriter, status int, code, detail string) {
	b, err := json.Marshal(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Code   string `json:"code"`
	}{"about:blank", http.StatusText(status), status, detail, code})
	if err != nil {
		panic(err) // strings and a number can be encoded
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // who has gone does not read it
}

// secure sets what every answer bears.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}
