package gateway

import (
	"cmp"
	"time"

	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/monitor"
)

// operation is the name that OpenTelemetry's conventions give an operation.
func operation(op dialect.Op) string {
	switch op {
	case dialect.Embed:
		return "embeddings"
	case dialect.Generate:
		return "text_completion"
	case dialect.Chat, dialect.Responses:
		return "chat"
	default:
		return string(op)
	}
}

// trace tells tracing tools of an exchange that ended or was refused; fault is
// the kind of what went wrong, "" if nothing did.
func (g *Gateway) trace(x *exchange, fault string) {
	if g.cfg.Tracer == nil {
		return
	}
	g.measure(x, fault)
	s := monitor.Span{Name: operation(x.to.Op) + " " + x.routeName(), Start: x.started, End: x.started.Add(time.Since(x.begun)), Fault: fault}
	s.Trace, s.ID = monitor.NewIDs()
	if g.cfg.TrustTraces {
		if trace, parent, ok := monitor.Parent(x.r.Header.Get("Traceparent")); ok {
			s.Trace, s.Parent = trace, parent
		}
	}
	a := map[string]any{
		"gen_ai.operation.name": operation(x.to.Op), "gen_ai.request.model": x.routeName(), "http.response.status_code": int64(x.status), "warden.request_id": x.id,
	}
	if fault != "" {
		a["error.type"] = fault
	}
	if x.target != nil {
		a["gen_ai.provider.name"] = cmp.Or(x.target.Provider, x.target.dialect.Name)
	}
	if x.req != nil {
		p := x.req.Params
		for name, n := range map[string]int64{"gen_ai.request.max_tokens": p.MaxOutput, "gen_ai.request.choice.count": p.Choices} {
			if n > 0 {
				a[name] = n
			}
		}
		if p.Temperature != nil {
			a["gen_ai.request.temperature"] = *p.Temperature
		}
	}
	if x.named != "" {
		a["gen_ai.response.model"] = x.named
	}
	if x.counted {
		a["gen_ai.usage.input_tokens"], a["gen_ai.usage.output_tokens"] = x.usage.Input, x.usage.Output
	}
	if x.first > 0 {
		a["warden.time_to_first_byte_ms"] = x.first.Milliseconds()
	}
	if x.effect != "" {
		a["warden.guard.effect"], a["warden.guard.rules"] = string(x.effect), x.rules()
	}
	s.Attributes = a
	g.cfg.Tracer.Keep(s)
}

// measure adds the exchange to the metrics of OpenTelemetry's conventions.
func (g *Gateway) measure(x *exchange, fault string) {
	m := monitor.Measure{Operation: operation(x.to.Op), Asked: x.routeName(), Answered: x.named, Fault: fault, Server: time.Since(x.begun)}
	if x.target != nil {
		m.Provider = cmp.Or(x.target.Provider, x.target.dialect.Name)
	}
	if !x.sentAt.IsZero() {
		m.Client = time.Since(x.sentAt)
	}
	if x.counted {
		m.Input, m.Output = x.usage.Input, x.usage.Output
	}
	g.cfg.Tracer.Measure(m)
}

// fault names what went wrong with an exchange that ran.
func (x *exchange) fault() string {
	if x.end == "complete" && x.status < 400 {
		return ""
	}
	return cmp.Or(x.end, "error")
}
