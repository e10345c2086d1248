package work_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"parley"
	"parley/internal/logtest"
)

// later has a message kept until it is due.
func (b *bench) later(body string, at time.Time) (duplicate bool) {
	b.t.Helper()
	d := parley.Draft{Room: "r", ID: "id-" + body, From: "ada", Body: []byte(body), Key: "k", Priority: 3, Retry: true}
	type outcome struct {
		parley.Receipt
		err error
	}
	c := make(chan outcome, 1)
	b.must(b.work.Later(context.Background(), d, at, func(r parley.Receipt, err error) { c <- outcome{r, err} }))
	o := <-c
	b.must(o.err)
	return o.Duplicate
}

func (b *bench) bodies() string {
	var out []string
	for _, m := range b.messages("r") {
		out = append(out, string(m.Body))
	}
	return fmt.Sprint(out)
}

func TestAMessageThatIsDueLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, logtest.Options{})
		defer func() { b.stop() }()
		b.later("second", time.Now().Add(2*time.Hour))
		b.later("first", time.Now().Add(time.Hour))
		if !b.later("first", time.Now().Add(time.Minute)) {
			t.Error("a repeated id is kept twice")
		}
		b.later("now", time.Now().Add(-time.Hour))
		synctest.Wait()
		want := func(bodies string) {
			t.Helper()
			synctest.Wait()
			if got := b.bodies(); got != bodies {
				t.Errorf("the room has %s, want %s", got, bodies)
			}
		}
		want("[now]")
		time.Sleep(time.Hour - time.Second)
		want("[now]")
		b.restart()
		time.Sleep(2 * time.Second)
		want("[now first]")
		if m := b.messages("r")[1]; m.Key != "k" || m.Priority != 3 || m.From != "ada" || m.ID != "id-first" {
			t.Errorf("%+v", m)
		}
		b.restart()
		time.Sleep(2 * time.Hour)
		want("[now first second]")
		b.restart()
		time.Sleep(time.Minute)
		want("[now first second]")
	})
}

func TestManyMessagesDueLaterAreSentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, logtest.Options{})
		defer func() { b.stop() }()
		const n = 500
		for i := range n {
			b.later(fmt.Sprint(i), time.Now().Add(time.Duration(n-i)*time.Second))
		}
		for range 5 {
			time.Sleep(n / 4 * time.Second)
			synctest.Wait()
			b.restart()
		}
		if got := len(b.messages("r")); got != n {
			t.Errorf("%d messages, want %d", got, n)
		}
	})
}
