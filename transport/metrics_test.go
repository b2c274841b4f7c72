package transport

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// contract is every series that docs/protocol.md 8 promises, each label with all its values.
var contract = map[string]string{
	"pyrycode_relay_connected_binaries":            "",
	"pyrycode_relay_connected_phones":              "",
	"pyrycode_relay_frames_forwarded_total":        "direction=binary_to_phone direction=phone_to_binary",
	"pyrycode_relay_bytes_forwarded_total":         "direction=binary_to_phone direction=phone_to_binary",
	"pyrycode_relay_grace_expiries_total":          "",
	"pyrycode_relay_ws_upgrade_attempts_total":     attempts(),
	"pyrycode_relay_register_failures_total":       "kind=no_server kind=phones_at_cap kind=ratelimit kind=server_in_use",
	"pyrycode_relay_push_wakes_total":              "outcome=dropped outcome=send_failed outcome=sent outcome=token_fetch_failed outcome=unregistered",
	"pyrycode_relay_takeovers_total":               "",
	"pyrycode_relay_probes_total":                  "result=abandoned result=answered result=expired",
	"pyrycode_relay_close_frames_sent_total":       "code=1001 code=1002 code=1007 code=1008 code=1009 code=1011 code=1012 code=4404 code=4409 code=4429 code=echoed code=ordered",
	"pyrycode_relay_claim_decision_seconds":        "",
	"pyrycode_relay_probe_round_trip_seconds":      "",
	"pyrycode_relay_frame_transit_seconds":         "",
	"pyrycode_relay_connections":                   "",
	"pyrycode_relay_connections_limit":             "",
	"pyrycode_relay_queued_bytes":                  "",
	"pyrycode_relay_queued_bytes_limit":            "",
	"pyrycode_relay_outboxes_waiting":              "",
	"pyrycode_relay_outbox_longest_bytes":          "",
	"pyrycode_relay_heartbeat_losses_total":        "",
	"pyrycode_relay_arrivals_lost_total":           "",
	"pyrycode_relay_arrivals_evicted_total":        "",
	"pyrycode_relay_envelopes_dropped_total":       "kind=malformed kind=unknown_conn_id",
	"pyrycode_relay_journal_entries_total":         "",
	"pyrycode_relay_registry_mailbox_messages":     "",
	"pyrycode_relay_dead_letters_total":            "",
	"pyrycode_relay_actor_panics_total":            "",
	"pyrycode_relay_claim_streams":                 "",
	"pyrycode_relay_record_dropped_messages_total": "",
	"pyrycode_relay_claim_streams_dropped_total":   "",
}

func attempts() string {
	var all []string
	for _, endpoint := range []string{"client", "server"} {
		for _, outcome := range []string{"accept", "reject_404", "reject_409", "reject_429", "reject_capacity", "reject_headers", "reject_rate_limit"} {
			all = append(all, "endpoint="+endpoint+",outcome="+outcome)
		}
	}
	return strings.Join(all, " ")
}

// scrape reads /metrics as Prometheus does.
func (r *running) scrape() map[string]*dto.MetricFamily {
	r.t.Helper()
	code, _, body := get(r.t, "http://"+r.admin+"/metrics")
	families, err := parseMetrics(body)
	if err != nil || code != 200 {
		r.t.Fatalf("%d, %v:\n%s", code, err, body)
	}
	return families
}

func parseMetrics(body string) (map[string]*dto.MetricFamily, error) {
	p := expfmt.NewTextParser(model.UTF8Validation)
	return p.TextToMetricFamilies(strings.NewReader(body))
}

// labels are those of every series of a family, in order.
func labels(f *dto.MetricFamily) string {
	var all []string
	for _, m := range f.Metric {
		var pairs []string
		for _, l := range m.Label {
			pairs = append(pairs, l.GetName()+"="+l.GetValue())
		}
		slices.Sort(pairs)
		all = append(all, strings.Join(pairs, ","))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// value is the one of a series.
func value(families map[string]*dto.MetricFamily, name string, pairs ...string) float64 {
	for _, m := range families[namespace+name].GetMetric() {
		fits := 0
		for _, l := range m.Label {
			if slices.Contains(pairs, l.GetName()+"="+l.GetValue()) {
				fits++
			}
		}
		if fits == len(pairs) {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return -1
}

// TestMetricsAreThoseOfTheContract from the start, with every value of every label, and no others.
func TestMetricsAreThoseOfTheContract(t *testing.T) {
	r := run(t, testConfig())
	families := r.scrape()
	for name, want := range contract {
		f := families[name]
		if f == nil {
			t.Errorf("%s does not exist", name)
		} else if got := labels(f); got != want {
			t.Errorf("%s has %q, want %q", name, got, want)
		} else if f.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
	}
	for name := range families {
		if strings.HasPrefix(name, namespace) && contract[name] == "" && !slices.Contains(slices.Collect(maps.Keys(contract)), name) && name != namespace+"build_info" {
			t.Errorf("%s is not in the contract", name)
		}
	}
	for _, name := range []string{namespace + "build_info", "go_goroutines", "process_open_fds"} {
		if families[name] == nil {
			t.Errorf("%s does not exist", name)
		}
	}
}

// TestEachAttemptCountsOnce, under what became of it.
func TestEachAttemptCountsOnce(t *testing.T) {
	cfg := testConfig()
	cfg.Slots.MaxPhones = 1
	r := run(t, cfg)
	holder := r.daemon("home")
	holder.living()
	r.until("home", "granted", 1) // before another comes
	loser := r.daemon("home")
	if code := <-loser.living(); code != 4409 {
		t.Fatalf("the loser is closed with %d", code)
	}
	phone := strings.Replace(without(request(r.addr, "home"), "X-Pyrycode-Version"), "/v1/server", "/v1/client", 1)
	phone = with(phone, "X-Pyrycode-Token: t")
	r.upgrades(phone)
	r.until("home", "attached", 1)
	if code := <-r.upgrades(phone).living(); code != 4429 {
		t.Fatalf("one phone too many is closed with %d", code)
	}
	if code := <-r.upgrades(strings.Replace(phone, "home", "nobody", 1)).living(); code != 4404 {
		t.Fatalf("a phone of nobody's is closed with %d", code)
	}
	for _, req := range []string{without(request(r.addr, "home"), "X-Pyrycode-Version"), without(request(r.addr, "home"), "Sec-WebSocket-Key")} {
		if resp, _ := r.say(r.addr, req); resp.StatusCode != 400 {
			t.Errorf("got %s, want 400", resp.Status)
		}
	}
	for _, req := range []string{without(request(r.addr, "ho me"), "Upgrade"), strings.Replace(request(r.addr, "home"), "GET", "POST", 1)} {
		r.say(r.addr, req) // no attempt
	}
	got := r.scrape()
	for _, code := range []string{"code=4409", "code=4429", "code=4404"} { // counted behind the write
		for value(got, "close_frames_sent_total", code) < 1 {
			got = r.scrape()
		}
	}
	for _, c := range []struct {
		want  float64
		name  string
		pairs []string
	}{
		{1, "ws_upgrade_attempts_total", []string{"endpoint=server", "outcome=accept"}},
		{1, "ws_upgrade_attempts_total", []string{"endpoint=server", "outcome=reject_409"}},
		{2, "ws_upgrade_attempts_total", []string{"endpoint=server", "outcome=reject_headers"}},
		{0, "ws_upgrade_attempts_total", []string{"endpoint=server", "outcome=reject_capacity"}},
		{1, "ws_upgrade_attempts_total", []string{"endpoint=client", "outcome=accept"}},
		{1, "ws_upgrade_attempts_total", []string{"endpoint=client", "outcome=reject_429"}},
		{1, "ws_upgrade_attempts_total", []string{"endpoint=client", "outcome=reject_404"}},
		{0, "ws_upgrade_attempts_total", []string{"endpoint=client", "outcome=reject_headers"}},
		{1, "register_failures_total", []string{"kind=server_in_use"}},
		{1, "register_failures_total", []string{"kind=phones_at_cap"}},
		{1, "register_failures_total", []string{"kind=no_server"}},
		{1, "probes_total", []string{"result=answered"}},
		{1, "probe_round_trip_seconds", nil},
		{2, "claim_decision_seconds", nil},
		{1, "close_frames_sent_total", []string{"code=4409"}},
		{1, "close_frames_sent_total", []string{"code=4429"}},
		{1, "close_frames_sent_total", []string{"code=4404"}},
		{1, "connected_binaries", nil},
		{1, "connected_phones", nil},
	} {
		if v := value(got, c.name, c.pairs...); v != c.want {
			t.Errorf("%s %v is %v, want %v", c.name, c.pairs, v, c.want)
		}
	}
}

// upgrades dials, is upgraded, and does nothing more.
func (r *running) upgrades(req string) *daemon {
	r.t.Helper()
	d, err := r.begin(req)
	if err == nil {
		err = d.upgraded()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { d.Close() })
	return d
}

// TestNoPeerChoosesALabel: whatever peers call themselves, or close with, the series are those that there were.
func TestNoPeerChoosesALabel(t *testing.T) {
	r := run(t, testConfig())
	before := r.scrape()
	odd := `"}<b>`
	d := r.daemon(odd)
	r.until(url.QueryEscape(odd), "granted", 1)
	_, _ = d.Write(closing(4321, odd))
	<-d.living()
	d.Close()
	r.until(url.QueryEscape(odd), "released", 1)
	for name, f := range r.scrape() {
		if before[name] == nil || labels(f) != labels(before[name]) {
			t.Errorf("%s has now %s", name, labels(f))
		}
	}
}
