package server

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"parley/transport/sock"
)

// Metrics have no label of a room or user: there is no bound to either, and both are nobody's business
// on a dashboard. Hooks are those of the configuration.

// metrics gives what /metrics answers.
func (d *doors) metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		gatherer{d},
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{DisableCompression: true})
}

// gatherer reads the counters that each part keeps of itself.
type gatherer struct{ *doors }

// metric is one of ours.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func counter(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("parley_"+name, help, labels, nil), prometheus.CounterValue}
}

func gauge(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("parley_"+name, help, labels, nil), prometheus.GaugeValue}
}

var (
	appended    = counter("log_appended_total", "Messages that became durable.")
	duplicates  = counter("log_duplicates_total", "Repeated ids, answered with the first seq.")
	refused     = counter("log_refused_total", "Appends that were not stored.")
	unknown     = counter("log_unknown_total", "Appends that ended with an unknown outcome.")
	waited      = counter("log_waited_total", "Appends that had to wait since too much was in flight.")
	delivered   = counter("log_delivered_total", "Live messages given to rooms.")
	syncs       = counter("log_syncs_total", "Rounds of the group commit.")
	syncSeconds = counter("log_sync_seconds_total", "Time spent in them.")
	batches     = counter("log_batches_total", "Batches sent to the store of a cluster.")
	groups      = counter("log_batch_groups_total", "Batches of nodes that were in them.")
	gapFills    = counter("log_gap_fills_total", "Times a live message was missing and read from the log.")
	safetyFinds = counter("log_safety_finds_total", "Rooms that the safety check found behind.")
	unreadable  = counter("log_unreadable_total", "Records left out because they could not be decoded.")
	broke       = counter("log_write_errors_total", "Write errors of the store.")
	reopened    = counter("log_reopened_total", "Times the store was opened again after one.")
	inFlight    = gauge("log_in_flight", "Appends without an outcome.")
	unsynced    = gauge("log_unsynced", "Messages written but not durable.")
	writable    = gauge("log_writable", "Whether messages can be stored now.")

	activeRooms = gauge("rooms_active", "Rooms that have members, or had a moment ago.")
	roomGaps    = counter("room_gaps_total", "Gaps told to members.")
	lagReads    = counter("room_lag_reads_total", "Pages read from the log for members behind their ring.")
	parked      = gauge("room_parked", "Sessions whose socket is full or that are behind their ring.")

	presence       = counter("presence_total", "Presence frames, each for all members of a room that asked.")
	presenceLate   = counter("presence_late_total", "Members that could not take one and are told all anew.")
	signals        = counter("signals_total", "Signals taken for a room's members.")
	signalsLost    = counter("signals_lost_total", "Signals that a member could not take.")
	signalsDropped = counter("signals_dropped_total", "Signals not taken, of who signals too much.")
	statuses       = counter("statuses_total", "Sessions told that messages cannot be stored for now, or can again.")

	connections = gauge("connections", "Connections now.", "transport")
	accepted    = counter("connections_total", "Connections since the start.", "transport")
	dismissed   = counter("connections_refused_total", "Connections closed for what they sent.", "transport")
	foreign     = counter("connections_foreign_total", "Handshakes refused for the site they came from.", "transport")
	dead        = counter("connections_dead_total", "Connections cut that gave no sign of life.", "transport")

	jobsCopied  = counter("jobs_copied_total", "Messages that became jobs, once for each group.")
	jobsGiven   = counter("jobs_given_total", "Jobs given to workers.")
	jobsSettled = counter("jobs_settled_total", "What workers said of them.", "as")
	jobsLost    = counter("jobs_lost_total", "Tries that ended with their worker's connection or deadline.")
	jobsDead    = counter("jobs_dead_total", "Dead letters.")
	jobsExpired = counter("jobs_expired_total", "Jobs that nobody took in time.")
	jobsBack    = counter("jobs_put_back_total", "Dead letters that were put back into their groups.")
	jobsFreed   = counter("jobs_freed_total", "Jobs that came back from a worker that had not begun them.")
	jobsWaited  = counter("jobs_waited_total", "Messages that had to wait until their room's groups had copied others.")
	jobsMissed  = counter("jobs_missed_total", "Times that a room did not keep its messages until they were copied.")
	groupLives  = counter("groups_reloaded_total", "Times a group read its journals again after a failure.")
	groupsOpen  = gauge("groups", "Groups of workers.")
	readersOpen = gauge("readers_active", "Durable readers that sessions use now.")

	hooksSent    = counter("hooks_sent_total", "Requests of hooks that were taken.", "hook")
	hooksFailed  = counter("hooks_failed_total", "Tries that were not taken.", "hook")
	hooksRetried = counter("hooks_retried_total", "Tries beyond the first.", "hook")
	hooksDead    = counter("hooks_dead_total", "Dead letters.", "hook")
	hooksMissed  = counter("hooks_missed_total", "Times that a room did not keep its messages until they were posted.", "hook")
	hooksDropped = counter("hooks_dropped_total", "News of presence that were not told.", "hook")
	hooksForgot  = counter("hooks_forgot_total", "Places in rooms that could not be written down.", "hook")
	hooksBehind  = gauge("hooks_behind", "Rooms with messages that are still to be posted.", "hook")
	hooksGone    = gauge("hooks_gone", "Whether the receiver has said that it wants nothing any more.", "hook")
	hooksLag     = gauge("hooks_lag_seconds", "Age of the oldest message that is still to be posted.", "hook")

	limited   = counter("limited_total", "Times a limit was met, by which.", "limit")
	roomLists = counter("room_lists_total", "Times the rooms that there are were looked up, for the limits of rooms; before the first nobody is refused for these.")

	handshakes        = counter("tls_handshakes_total", "TLS handshakes done.", "port")
	handshakesFailed  = counter("tls_handshakes_failed_total", "Connections that did not become TLS, by why.", "port", "why")
	handshakesPending = gauge("tls_handshakes_pending", "Connections that are not ready: in their handshake, or in a proxy's header.", "port")
	proxyHeaders      = counter("proxy_headers_refused_total", "Headers of the PROXY protocol that cannot be.", "port")

	httpOpen    = gauge("http_open", "Requests being answered now.")
	httpAnswers = counter("http_answers_total", "Requests answered, by class of status.", "status")
	httpRefused = counter("http_refused_total", "Requests for another host, from another site, or of doubtful length.")
)

// Describe implements prometheus.Collector. It says nothing, since there is nothing to collect before all
// the doors are made.
func (gatherer) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (g gatherer) Collect(ch chan<- prometheus.Metric) {
	set := func(m metric, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, value, labels...)
	}
	g.collectLog(set)
	g.collectWork(set)
	g.collectHooks(set)
	h := g.hub.Stats()
	set(activeRooms, float64(h.Rooms))
	set(roomGaps, float64(h.Gaps))
	set(lagReads, float64(h.LagReads))
	set(parked, float64(h.Parked))
	set(presence, float64(h.Presence))
	set(presenceLate, float64(h.PresenceLate))
	set(signals, float64(h.Signals))
	set(signalsLost, float64(h.SignalsLost))
	set(signalsDropped, float64(h.SignalsDropped))
	set(statuses, float64(h.Statuses))

	set(roomLists, float64(g.sessions.Quota.Lists()))
	for limit, n := range g.sessions.Quota.Met() {
		set(limited, float64(n), limit.String())
	}

	collectListener(set, "tcp", g.lines)
	collectListener(set, "http", g.pages)
	t := g.tcp.Stats()
	set(connections, float64(t.Open), "tcp")
	set(accepted, float64(t.Accepted), "tcp")
	set(dismissed, float64(t.Refused), "tcp")
	e := g.sse.Stats()
	set(connections, float64(e.Open), "sse")
	set(accepted, float64(e.Accepted), "sse")

	s := g.ws.Stats()
	set(connections, float64(s.Open), "ws")
	set(accepted, float64(s.Accepted), "ws")
	set(dismissed, float64(s.Refused), "ws")
	set(foreign, float64(s.Foreign), "ws")
	set(dead, float64(s.Dead), "ws")

	w := g.http.Stats()
	set(httpOpen, float64(w.Open))
	set(httpRefused, float64(w.Refused))
	for status, n := range w.Answers {
		set(httpAnswers, float64(n), status)
	}
}

func collectListener(set func(metric, float64, ...string), port string, l *sock.Listener) {
	s := l.Stats()
	set(handshakes, float64(s.Handshakes), port)
	set(handshakesFailed, float64(s.Failed), port, "failed")
	set(handshakesFailed, float64(s.Late), port, "late")
	set(handshakesFailed, float64(s.Hurried), port, "hurried")
	set(handshakesFailed, float64(s.Crowded), port, "crowded")
	set(handshakesFailed, float64(s.Plain), port, "plain")
	set(handshakesPending, float64(s.UnderWay), port)
	set(proxyHeaders, float64(s.BadHeaders), port)
}

func (g gatherer) collectLog(set func(metric, float64, ...string)) {
	l := g.engine.Stats()
	set(appended, float64(l.Appended))
	set(duplicates, float64(l.Duplicates))
	set(refused, float64(l.Refused))
	set(unknown, float64(l.Unknown))
	set(waited, float64(l.Waited))
	set(delivered, float64(l.Delivered))
	set(syncs, float64(l.Syncs))
	set(syncSeconds, l.SyncTime.Seconds())
	set(batches, float64(l.Batches))
	set(groups, float64(l.Groups))
	set(gapFills, float64(l.GapFills))
	set(safetyFinds, float64(l.SafetyFinds))
	set(unreadable, float64(l.Unreadable))
	set(broke, float64(l.Broke))
	set(reopened, float64(l.Reopened))
	set(inFlight, float64(l.InFlight))
	set(unsynced, float64(l.Unsynced))
	ok := 1.0
	if g.engine.Ready() != nil {
		ok = 0
	}
	set(writable, ok)
}

// collectWork reads the books of readers and workers.
func (g gatherer) collectWork(set func(metric, float64, ...string)) {
	w := g.sessions.Work.Stats()
	set(jobsCopied, float64(w.Copied))
	set(jobsGiven, float64(w.Given))
	set(jobsSettled, float64(w.Done), "done")
	set(jobsSettled, float64(w.Retried), "retry")
	set(jobsSettled, float64(w.Failed), "fail")
	set(jobsLost, float64(w.Lost))
	set(jobsDead, float64(w.Dead))
	set(jobsExpired, float64(w.Expired))
	set(jobsBack, float64(w.Back))
	set(jobsFreed, float64(w.Freed))
	set(jobsWaited, float64(w.Waited))
	set(jobsMissed, float64(w.Missed))
	set(groupLives, float64(w.Reloads))
	set(groupsOpen, float64(w.Groups))
	set(readersOpen, float64(w.Readers))
}

func (g gatherer) collectHooks(set func(metric, float64, ...string)) {
	for _, h := range g.sender.Stats() {
		set(hooksSent, float64(h.Sent), h.Hook)
		set(hooksFailed, float64(h.Failed), h.Hook)
		set(hooksRetried, float64(h.Retried), h.Hook)
		set(hooksDead, float64(h.Dead), h.Hook)
		set(hooksMissed, float64(h.Missed), h.Hook)
		set(hooksDropped, float64(h.Dropped), h.Hook)
		set(hooksForgot, float64(h.Forgot), h.Hook)
		set(hooksBehind, float64(h.Behind), h.Hook)
		gone := 0.0
		if h.Gone {
			gone = 1
		}
		set(hooksGone, gone, h.Hook)
		set(hooksLag, h.Lag.Seconds(), h.Hook)
	}
}
