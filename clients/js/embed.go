// Package js embeds the JavaScript client, so that the server can give it to its own page and to
// others. It knows nothing of what the client does: parley.js and its README say that.
package js

import _ "embed"

// Source is parley.js, one ES module without dependencies, byte for byte.
//
//go:embed parley.js
var Source []byte
