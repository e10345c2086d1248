package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

// What fetching published keys may cost.
const (
	fetchWithin  = 5 * time.Second
	maxPublished = 1 << 20 // bytes
	maxRedirects = 3

	// Tokens with an unknown kid have the keys fetched anew, at most so often.
	unknownEvery = 5 * time.Second
	unknownBurst = 2

	// Where there are no keys yet they are asked for more often.
	retryAfter = 5 * time.Second
)

// jwks are keys that an issuer publishes: fetched now and then, and when a token names one that is
// not among them. When that fails the last ones stay.
type jwks struct {
	config JWKSConfig
	client *http.Client
	logger *slog.Logger

	set     atomic.Pointer[keyfunc.Keyfunc] // nil: none yet
	unknown *rate.Limiter
	slot    chan struct{} // held by who fetches

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// readPublished fetches the keys and goes on doing so until close. must: that they cannot be fetched
// is an error.
func readPublished(ctx context.Context, config *JWKSConfig, must bool, logger *slog.Logger) (*jwks, error) {
	j := &jwks{
		config:  *config,
		logger:  logger,
		unknown: rate.NewLimiter(rate.Every(unknownEvery), unknownBurst),
		slot:    make(chan struct{}, 1),
	}
	j.config.Algs = slices.Clone(config.Algs)
	if j.config.Refresh == 0 {
		j.config.Refresh = DefaultRefresh
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns = 1
	j.client = &http.Client{Transport: boundedBodies{transport}, CheckRedirect: checkRedirect, Timeout: fetchWithin}
	if err := j.fetch(ctx); err != nil {
		if must {
			j.client.CloseIdleConnections()
			return nil, badSetting("auth.jwks.url", err)
		}
		j.warn(err)
	}
	ctx, j.cancel = context.WithCancel(context.Background())
	j.done.Go(func() { j.refresh(ctx) })
	return j, nil
}

// is says whether these are the keys that config means.
func (j *jwks) is(config *JWKSConfig) bool {
	refresh := config.Refresh
	if refresh == 0 {
		refresh = DefaultRefresh
	}
	return config.URL == j.config.URL && refresh == j.config.Refresh && slices.Equal(config.Algs, j.config.Algs)
}

func (j *jwks) close() {
	j.cancel()
	j.done.Wait()
	j.client.CloseIdleConnections()
}

// refresh fetches the keys now and then.
func (j *jwks) refresh(ctx context.Context) {
	for {
		wait := j.config.Refresh
		if j.set.Load() == nil {
			wait = min(wait, retryAfter)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if err := j.fetch(ctx); err != nil && ctx.Err() == nil {
			j.warn(err)
		}
	}
}

func (j *jwks) warn(err error) {
	j.logger.Warn("published keys cannot be fetched; those there are stay", "url", j.config.URL, "have", j.set.Load() != nil, "err", err)
}

// fetch gets the keys. One does at a time; who has waited for another's takes that.
func (j *jwks) fetch(ctx context.Context) error {
	before := j.set.Load()
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	select {
	case j.slot <- struct{}{}:
		defer func() { <-j.slot }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if j.set.Load() != before {
		return nil
	}
	storage, err := jwkset.NewStorageFromHTTP(j.config.URL, jwkset.HTTPClientStorageOptions{
		Client: j.client, Ctx: ctx, HTTPTimeout: fetchWithin,
	})
	if err != nil {
		return err
	}
	set, err := keyfunc.New(keyfunc.Options{Ctx: ctx, Storage: storage, UseWhitelist: []jwkset.USE{"", jwkset.UseSig}})
	if err != nil {
		return err
	}
	j.set.Store(&set)
	return nil
}

// keysFor finds the keys a token may be signed with. A kid that is not known has the keys fetched
// anew.
func (j *jwks) keysFor(ctx context.Context, token *jwt.Token, alg string) ([]jwt.VerificationKey, error) {
	if !slices.Contains(j.config.Algs, alg) {
		return nil, nil
	}
	keys, known := j.lookUp(ctx, token, alg)
	if known || !j.unknown.Allow() {
		return keys, nil
	}
	if err := j.fetch(ctx); err != nil {
		j.warn(err)
		return nil, keyError{"its key is not among the published ones, and they cannot be fetched now"}
	}
	keys, _ = j.lookUp(ctx, token, alg)
	return keys, nil
}

// lookUp finds the keys among those there are.
func (j *jwks) lookUp(ctx context.Context, token *jwt.Token, alg string) (keys []jwt.VerificationKey, known bool) {
	set := j.set.Load()
	if set == nil {
		return nil, false
	}
	found, err := (*set).KeyfuncCtx(ctx)(token)
	if err != nil {
		return nil, !errors.Is(err, jwkset.ErrKeyNotFound)
	}
	several, ok := found.(jwt.VerificationKeySet)
	if !ok {
		several.Keys = []jwt.VerificationKey{found}
	}
	for _, k := range several.Keys {
		if fits(alg, k) == nil && len(keys) < maxKeys {
			keys = append(keys, k)
		}
	}
	return keys, true
}

// checkPublishedAt: keys come over a wire that nobody can change, or from this machine.
func checkPublishedAt(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("%q is no URL", clip(text))
	case u.User != nil:
		return errors.New("a URL without a password")
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("%q is not https: whoever is on the way could put in keys of their own", clip(text))
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

func checkRedirect(r *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return errors.New("too many redirects")
	}
	return checkPublishedAt(r.URL.String())
}

// boundedBodies cuts answers that are longer than any set of keys.
type boundedBodies struct{ http.RoundTripper }

// RoundTrip sends a request.
func (b boundedBodies) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(answer.Body, maxPublished), answer.Body}
	}
	return answer, err
}
