package engine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// What a stream's metadata remembers, so that later starts can check it or reason with it.
const (
	metaPartitions  = "parley_partitions"
	metaMinMessages = "parley_min_messages" // the smallest limit of messages ever configured
	metaMinAge      = "parley_min_age"      // the smallest limit of age ever, as a duration
)

// errFormat says that the streams were made in a way that is not ours to change.
var errFormat = errors.New("engine: the log was made otherwise")

// never is the limit of a store that has none.
const never = 1<<63 - 1

// prepare makes the partition's stream or brings its limits up to date, and learns from it what
// was configured before.
func (s *store) prepare(ctx context.Context, p *partition, c *Config) error {
	want := streamConfig(p, c)
	if p.quiet {
		want = journalConfig(p, c)
	}
	p.minMessages, p.minAge = limits(c)
	var info *jetstream.StreamInfo
	switch stream, err := s.js.Stream(ctx, p.stream); {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		made, err := s.js.CreateStream(ctx, want)
		if err != nil {
			return fmt.Errorf("make stream %s: %w", p.stream, err)
		}
		info = made.CachedInfo()
	case err != nil:
		return fmt.Errorf("look at stream %s: %w", p.stream, err)
	default:
		old := stream.CachedInfo()
		if err := p.remember(old.Config.Metadata, c, want.Metadata); err != nil {
			return err
		}
		if c.replicated() && sameLimits(&old.Config, &want) {
			info = old
			break
		}
		updated, err := s.js.UpdateStream(ctx, want)
		if err != nil {
			return fmt.Errorf("update stream %s: %w", p.stream, err)
		}
		info = updated.CachedInfo()
	}
	p.created = info.Created
	return nil
}

func streamConfig(p *partition, c *Config) jetstream.StreamConfig {
	minMessages, minAge := limits(c)
	return jetstream.StreamConfig{
		Name:               p.stream,
		Subjects:           []string{p.roomPrefix + "*"},
		Storage:            jetstream.FileStorage,
		Retention:          jetstream.LimitsPolicy,
		Discard:            jetstream.DiscardOld,
		Replicas:           c.replicas(),
		MaxMsgsPerSubject:  int64(c.RetainMessages),
		MaxAge:             max(c.RetainAge, 0),
		Duplicates:         c.Dedupe,
		AllowDirect:        true,
		AllowAtomicPublish: true,
		RePublish:          &jetstream.RePublish{Source: p.roomPrefix + "*", Destination: p.livePrefix + "{{wildcard(1)}}"},
		Metadata: map[string]string{
			metaPartitions:  strconv.Itoa(c.Partitions),
			metaMinMessages: strconv.FormatInt(minMessages, 10),
			metaMinAge:      minAge.String(),
		},
	}
}

// sameLimits says that nothing is to be changed: not every node that starts need have the whole
// cluster agree to that again.
func sameLimits(is, want *jetstream.StreamConfig) bool {
	for k, v := range want.Metadata {
		if is.Metadata[k] != v {
			return false
		}
	}
	return is.Replicas == want.Replicas && is.MaxMsgsPerSubject == want.MaxMsgsPerSubject &&
		is.MaxAge == want.MaxAge && is.Duplicates == want.Duplicates
}

// limits gives the configured retention with no limit as never.
func limits(c *Config) (messages int64, age time.Duration) {
	messages, age = int64(c.RetainMessages), c.RetainAge
	if messages < 0 {
		messages = never
	}
	if age < 0 {
		age = never
	}
	return messages, age
}

// remember checks what is written of earlier starts and carries it into the new metadata.
func (p *partition) remember(was map[string]string, c *Config, now map[string]string) error {
	if n := was[metaPartitions]; n != strconv.Itoa(c.Partitions) {
		return fmt.Errorf("%w: with %s partitions, not %d: rooms would not be found again", errFormat, n, c.Partitions)
	}
	if p.quiet {
		return nil // journals have no limits
	}
	if n, err := strconv.ParseInt(was[metaMinMessages], 10, 64); err == nil {
		p.minMessages = min(p.minMessages, n)
	}
	if d, err := time.ParseDuration(was[metaMinAge]); err == nil {
		p.minAge = min(p.minAge, d)
	}
	now[metaMinMessages] = strconv.FormatInt(p.minMessages, 10)
	now[metaMinAge] = p.minAge.String()
	return nil
}
