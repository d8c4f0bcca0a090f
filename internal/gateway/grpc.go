package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/oip/grpc"
)

// grpcName is the dialect of the inference protocol over gRPC: unary calls over
// HTTP/2, whose messages go on as they came. See the Open Inference Protocol's
// grpc_predict_v2.proto and gRPC over HTTP2.
const grpcName = "oip-grpc"

// grpcDialect is what refusals and records need of it; its calls have a handler
// of their own.
func grpcDialect() *dialect.Dialect {
	return &dialect.Dialect{
		Name:  grpcName,
		Match: func(string, string, string) (dialect.Target, bool) { return dialect.Target{}, false },
		Error: func(p dialect.Problem) []byte { return []byte(p.Message) },
		Keys:  []dialect.Key{{Header: "Authorization", Prefix: "Bearer "}},
		Path:  func(dialect.Target, string) string { return "/" + grpc.Service + "/ModelInfer" },
	}
}

// isGRPC reports whether a request is a call.
func isGRPC(r *http.Request) bool {
	return r.ProtoMajor == 2 && r.Method == http.MethodPost && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
}

// grpcStatus is the code of gRPC for a status of HTTP.
func grpcStatus(status int) int {
	switch status {
	case http.StatusUnauthorized:
		return 16
	case http.StatusForbidden:
		return 7
	case http.StatusNotFound:
		return 5
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return 12
	case http.StatusTooManyRequests, http.StatusRequestEntityTooLarge:
		return 8
	case http.StatusServiceUnavailable, http.StatusBadGateway:
		return 14
	case http.StatusBadRequest, http.StatusUnsupportedMediaType:
		return 3
	default:
		return 13
	}
}

// percent escapes a message as gRPC does.
func percent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// endCall answers a call with a status and no message.
func (x *exchange) endCall(code int, message string) {
	h := x.w.Header()
	h.Del("WWW-Authenticate")
	h.Set("Content-Type", "application/grpc")
	h.Set("Grpc-Status", strconv.Itoa(code))
	if message != "" {
		h.Set("Grpc-Message", percent(message))
	}
	x.w.WriteHeader(http.StatusOK)
}

// call serves one gRPC call.
func (g *Gateway) call(ctx context.Context, x *exchange, path string) {
	x.dialect, x.grpc = g.grpcDialect, true
	op, known := grpc.Method(path)
	if !known {
		g.refuse(x, refusal{status: http.StatusNotImplemented, code: "unknown_path", message: "this gateway has no such method"})
		return
	}
	x.to = dialect.Target{Op: op}
	if op == dialect.Infer {
		g.serve(ctx, x)
		return
	}
	if op != dialect.Live {
		if ref := g.authenticate(ctx, x); ref != nil {
			g.refuse(x, *ref)
			return
		}
	}
	body, release, ref := g.readBody(x, maxCall)
	defer release()
	var req *grpc.Request
	if ref == nil {
		req, ref = decodeCall(op, body)
	}
	switch {
	case ref != nil:
		g.refuse(x, *ref)
	case op == dialect.Metadata && req.Model != "":
		g.refuse(x, refusal{status: http.StatusNotImplemented, code: "unknown_path", message: "this gateway does not pass on descriptions of models"})
	case op == dialect.Metadata: // name = 1, version = 2
		x.reply([]byte("\x0a\x06warden\x12\x011"))
	default:
		ready := true
		if req.Model != "" {
			ready = g.ready(ctx, x, req.Model)
		}
		if ready {
			x.reply([]byte{0x08, 1}) // live, or ready = 1
			return
		}
		x.reply(nil)
	}
}

const maxCall = 64 << 20

// reply answers a call with a message.
func (x *exchange) reply(message []byte) {
	h := x.w.Header()
	h.Set("Content-Type", "application/grpc")
	h.Set(http.TrailerPrefix+"Grpc-Status", "0")
	x.w.WriteHeader(http.StatusOK)
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))) //nolint:gosec // bounded by maxCall
	x.w.Write(append(frame, message...))                                    //nolint:errcheck // the client is gone
}

// frameHead is how many bytes stand before a message: whether it is compressed,
// and its length.
const frameHead = 5

var errFrame = errors.New("not one message of gRPC")

// unframe returns the message of a unary call. Compressed ones are not taken.
func unframe(body []byte) ([]byte, error) {
	switch {
	case len(body) < frameHead || int64(len(body)-frameHead) != int64(binary.BigEndian.Uint32(body[1:frameHead])):
		return nil, errFrame
	case body[0] != 0:
		return nil, fmt.Errorf("%w: it is compressed", errFrame)
	}
	return body[frameHead:], nil
}

func decodeCall(op dialect.Op, body []byte) (*grpc.Request, *refusal) {
	message, err := unframe(body)
	if err != nil {
		return nil, bodyRefusal(err)
	}
	req, err := grpc.Decode(op, message, grpc.DefaultLimits())
	if err != nil {
		return nil, bodyRefusal(err)
	}
	return req, nil
}

// decodeInfer reads a call of ModelInfer and finds its route.
func (g *Gateway) decodeInfer(x *exchange, body []byte) *refusal {
	req, ref := decodeCall(dialect.Infer, body)
	if ref != nil {
		return ref
	}
	x.raw, x.out = body, body
	x.req = &dialect.Request{Exchange: req.Exchange, To: x.to}
	x.route = (*g.routes.Load())[req.Model]
	return nil
}

// newCaller returns the client for calls to an upstream.
func (t *target) newCaller(idle time.Duration, c *tls.Config) *http.Client {
	p := &http.Protocols{}
	p.SetHTTP2(c != nil)
	p.SetUnencryptedHTTP2(c == nil)
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialGuard{t.AllowPrivate}.dial, TLSClientConfig: c, Protocols: p, DisableCompression: true, ResponseHeaderTimeout: idle,
			MaxResponseHeaderBytes: 64 << 10, IdleConnTimeout: 90 * time.Second,
		},
	}
}

// forwardCall sends a call to the upstream and its answer back.
func (g *Gateway) forwardCall(ctx context.Context, x *exchange) {
	ctx, cancel := g.within(ctx)
	defer cancel()
	x.sentAt = time.Now()
	u := url.URL{Scheme: x.target.url.Scheme, Host: x.target.url.Host, Path: x.target.dialect.Path(x.to, "")}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(x.out))
	if err != nil {
		g.bad(x, err)
		return
	}
	req.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {"warden-gateway"}}
	req.Header.Set("Via", g.via(x.r.Header))
	if c := x.target.Credential.Reveal(); c != "" {
		req.Header.Set("Authorization", "Bearer "+c)
	}
	resp, err := x.target.caller.Do(req)
	if err != nil {
		g.failed(x, err)
		return
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	x.first = time.Since(x.sentAt)
	body, release, err := g.load.read(resp.Body, resp.ContentLength, maxAnswer)
	defer release()
	if err != nil {
		g.failed(x, err)
		return
	}
	status := resp.Trailer.Get("Grpc-Status")
	if status == "" {
		status = resp.Header.Get("Grpc-Status") // a call that ended without a message
	}
	code, err := strconv.Atoi(status)
	switch {
	case resp.StatusCode != http.StatusOK || err != nil || code < 0 || code > 16:
		g.bad(x, fmt.Errorf("upstream answers with status %d and gRPC status %q", resp.StatusCode, status))
		return
	case code == 16: // it speaks of the route's credential
		g.bad(x, errors.New("upstream refuses the credential of the route"))
		return
	case code != 0:
		x.end, x.status = "complete", http.StatusOK
		x.endCall(code, "the upstream of this model refuses the call")
		return
	}
	message, err := unframe(body)
	if err == nil {
		_, err = grpc.DecodeAnswer(message, grpc.DefaultLimits())
	}
	if err == nil && x.leaks(body) {
		err = errSecret
	}
	if err != nil {
		g.bad(x, err)
		return
	}
	if x.adm = g.admit(ctx, x.route, x.target); !x.adm.open {
		ref := g.closed(x)
		x.end, x.status = "withdrawn", ref.status
		g.refuse(x, *ref)
		return
	}
	x.end, x.status, x.sent, x.counted = "complete", http.StatusOK, int64(len(body)), true
	x.timing()
	x.reply(message)
}
