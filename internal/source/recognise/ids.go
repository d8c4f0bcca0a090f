package recognise

import (
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/source/sight"
)

type hostRow struct{ host, provider string }

type idRow struct{ glob, provider string }

// Host returns the provider that answers at an address, by its parsed host; ""
// if it is none that is known. What follows an open place, written "*", does not
// count.
func (r *Rows) Host(address string) (provider string, local bool) {
	address = strings.TrimSpace(address)
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(strings.NewReplacer("*", "x", "{", "x", "}", "x", "<", "x", ">", "x").Replace(address))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "ws" && u.Scheme != "wss" {
		return "", false
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	local = IsLocal(host)
	for _, h := range r.hosts {
		want, wantPort, found := strings.Cut(h.host, ":")
		if found && wantPort != port {
			continue
		}
		if want == host || strings.Contains(want, "*") && labels(want, host) {
			return h.provider, local
		}
	}
	if port == "11434" {
		return "ollama", local
	}
	return "", local
}

// labels compares hosts where "*" stands for one label or more.
func labels(pattern, host string) bool { return glob(pattern, host) }

// IsLocal reports whether a host is this machine, a private address, or a name
// that only a container network knows.
func IsLocal(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback() || ip.IsPrivate() || ip.IsUnspecified() || ip.IsLinkLocalUnicast()
	}
	return host == "localhost" || !strings.Contains(host, ".") || strings.HasSuffix(host, ".local") || strings.HasSuffix(host, ".internal") ||
		strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".svc")
}

// Maker returns the provider whose models have names like id, or "".
func (r *Rows) Maker(id string) string {
	id = strings.ToLower(id)
	for _, w := range r.ids {
		if glob(w.glob, id) {
			return w.provider
		}
	}
	return ""
}

// Known reports whether id has a form that tells by itself that it is a model:
// org/name with a version, or a name of a provider's own.
func (r *Rows) Known(id string) bool {
	if r.Maker(id) != "" {
		return true
	}
	return sight.IsHub(id) && strings.ContainsAny(id, "0123456789-") && !strings.Contains(id, ".com/") && !strings.Contains(id, ".io/") && !sight.WeightFile.MatchString(id)
}

// Prefix returns the provider that stands before the first "/" or ":" of an id,
// and the rest; "" if there is none that is known.
func (r *Rows) Prefix(id string) (provider, rest string) {
	i := strings.IndexAny(id, "/:")
	if i <= 0 {
		return "", id
	}
	p, ok := r.cat.Prefixes[strings.ToLower(id[:i])]
	if !ok {
		return "", id
	}
	return p, id[i+1:]
}

// IsGateway reports whether a provider passes requests on to others.
func (r *Rows) IsGateway(provider string) bool {
	return slices.Contains(r.cat.Gateways, provider)
}

// IsKeyVariable reports whether a variable of this name holds a provider's key.
func (r *Rows) IsKeyVariable(name string) bool { return r.keys[name] }

// KeyProvider returns the provider whose keys begin as s does, or "".
func (r *Rows) KeyProvider(s string) string {
	best, p := 0, ""
	for prefix, provider := range r.cat.KeyPrefixes {
		if len(prefix) > best && strings.HasPrefix(s, prefix) {
			best, p = len(prefix), provider
		}
	}
	return p
}

// BaseVariable returns the provider whose address a variable holds, or "".
func (r *Rows) BaseVariable(name string) string { return r.cat.Variables.Base[name] }

// Retired returns the day from which a model is no longer served by its maker,
// as YYYY-MM-DD, or "".
func (r *Rows) Retired(id string) string { return r.cat.Dated[strings.ToLower(id)] }

// own are the beginnings of the ids of providers who serve their own models only.
var own = map[string][]string{
	"anthropic": {"claude"}, "google": {"gemini", "models/", "gemma", "imagen", "embedding", "text-", "veo", "learnlm", "tunedmodels/", "lyria", "aqa", "chat-", "deep-research"},
	"cohere": {"command", "embed", "rerank", "c4ai", "aya", "tiny-aya"}, "deepseek": {"deepseek"}, "xai": {"grok"}, "voyage": {"voyage", "rerank"},
	"perplexity": {"sonar", "pplx", "llama", "mixtral", "r1-", "codellama", "mistral"}, "mistral": {"mistral", "open-", "codestral", "ministral", "pixtral", "magistral", "devstral", "voxtral", "ft:"},
}

// tasks are words that stand in the place of an id where a call names its task
// first. They are no models.
var tasks = map[string]bool{
	"summarization": true, "text-generation": true, "text2text-generation": true, "text-classification": true, "sentiment-analysis": true,
	"question-answering": true, "fill-mask": true, "feature-extraction": true, "zero-shot-classification": true, "token-classification": true, "ner": true,
	"translation": true, "automatic-speech-recognition": true, "image-classification": true, "image-to-text": true, "object-detection": true,
	"text-to-speech": true, "text-to-audio": true, "audio-classification": true, "conversational": true, "image-segmentation": true,
	"visual-question-answering": true, "document-question-answering": true, "depth-estimation": true, "image-text-to-text": true,
}

// fits reports whether an id can be one of a provider's. Values of several
// clients meet where they are passed on together: one that cannot be this
// provider's belongs to another.
func (r *Rows) fits(provider, id string) bool {
	low := strings.ToLower(id)
	if heads, ok := own[provider]; ok {
		for _, h := range heads {
			if strings.HasPrefix(low, h) {
				return true
			}
		}
		return false
	}
	maker := r.Maker(id)
	switch provider {
	case "watsonx":
		return strings.Contains(id, "/") && !strings.Contains(id, ":")
	case "huggingface":
		return (!strings.Contains(id, ":") || strings.HasPrefix(low, "hf-hub:")) && (maker == "" || strings.Contains(id, "/")) && !tasks[low]
	case "vertex-ai":
		return maker == "" || maker == "google" || maker == "anthropic" || maker == "mistral" || strings.Contains(id, "/")
	case "ollama":
		return low == id && (maker == "" || !strings.Contains(id, "/") && maker != "openai" && maker != "anthropic" && maker != "google") || strings.HasPrefix(low, "hf.co/")
	case "openai":
		return maker == "" && !strings.Contains(id, "/") || maker == "openai" || strings.HasPrefix(low, "ft:")
	}
	return true
}
