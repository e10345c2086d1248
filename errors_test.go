package parley_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"parley"
)

func TestAnErrorThatIsNobodysBusinessIsInternal(t *testing.T) {
	secret := errors.New("open /var/lib/secret: denied")
	e := parley.AsError(fmt.Errorf("append: %w", secret))
	if e.Code != parley.Internal || strings.Contains(e.Message, "secret") {
		t.Errorf("people would read %s: %s", e.Code, e.Message)
	}
	if !errors.Is(e, secret) || !strings.Contains(e.Error(), "secret") {
		t.Errorf("our log would not have the cause: %v", e)
	}
}

func TestAnErrorIsFoundBehindOthers(t *testing.T) {
	denied := parley.Errorf(parley.Denied, "you may not send in %s", "ops")
	if got := parley.AsError(fmt.Errorf("send: %w", denied)); got != denied {
		t.Errorf("found %v, want %v", got, denied)
	}
	if denied.Error() != "denied: you may not send in ops" {
		t.Errorf("reads %q", denied.Error())
	}
}

func TestACauseDoesNotChangeTheErrorItIsGivenTo(t *testing.T) {
	full := parley.Errorf(parley.Unavailable, "the disk is full")
	caused := full.Because(io.ErrShortWrite)
	if !errors.Is(caused, io.ErrShortWrite) || errors.Is(full, io.ErrShortWrite) {
		t.Errorf("%v, and the first is %v", caused, full)
	}
}

func TestTypesHaveOneNameEach(t *testing.T) {
	for _, typ := range []parley.Type{parley.Text, parley.JSON, parley.Binary} {
		if got, err := parley.ParseType(typ.String()); err != nil || got != typ {
			t.Errorf("%s is read as %s, %v", typ, got, err)
		}
	}
	for _, s := range []string{"TEXT", "Json", "xml", "text ", "type(3)"} {
		got, err := parley.ParseType(s)
		if err == nil {
			t.Errorf("%q is taken as %s", s, got)
			continue
		}
		wantBadRequest(t, "", err)
	}
	if got := parley.Type(3).String(); got != "type(3)" {
		t.Errorf("an unknown type is %q", got)
	}
}

func TestASessionIsSixteenDigits(t *testing.T) {
	if got := parley.SessionID(0xc0ffee).String(); got != "0000000000c0ffee" {
		t.Errorf("got %q", got)
	}
}
