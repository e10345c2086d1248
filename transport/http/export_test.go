package httpapi

// Routes are the methods of each path, for the test that holds the description against them.
func Routes() map[string][]string {
	paths := make(map[string][]string)
	for path, methods := range routes {
		for m := range methods {
			paths[path] = append(paths[path], m)
		}
	}
	return paths
}

// Descriptions are the two files that are served.
func Descriptions() (open, async []byte) { return openAPI, asyncAPI }
