package hooks_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"parley"
)

// BenchmarkPosts posts what has piled up in rooms to a receiver on this machine that takes all.
func BenchmarkPosts(b *testing.B) {
	for _, rooms := range []int{1, 8, 1000} {
		b.Run(fmt.Sprintf("rooms=%d", rooms), func(b *testing.B) {
			f, taken := newBench(b), make(chan struct{}, 1000)
			s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { taken <- struct{}{} }))
			defer s.Close()
			done := make(chan error, b.N)
			f.use(f.hook("h", s.URL, "**"))
			f.use()
			for i := range b.N {
				d := parley.Draft{Room: fmt.Sprint("r", i%rooms), ID: fmt.Sprint(i), From: "ada", Body: make([]byte, 128)}
				f.must(f.log.Append(context.Background(), d, func(_ parley.Receipt, err error) { done <- err }))
			}
			for range b.N {
				f.must(<-done)
			}
			b.ResetTimer()
			f.use(f.hook("h", s.URL, "**"))
			for range b.N {
				<-taken
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "posts/s")
			f.stop()
		})
	}
}
