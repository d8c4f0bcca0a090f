package config

import (
	"strings"

	"github.com/modelwarden/warden/internal/source/sight"
)

// kubernetes reads pods of any kind, and the resources that name models.
func kubernetes(p string, v *Value) (d Doc) {
	kind, api := v.Get("kind").text(), v.Get("apiVersion").text()
	uri := func(k *Value) {
		if s := k.text(); s != "" {
			d.storage(p, s, k.line())
		}
	}
	switch kind {
	case "InferenceService":
		m := v.At("spec", "predictor", "model")
		uri(m.Get("storageUri"))
		args := argv(m.Get("args"))
		for i, a := range args {
			flag, value, has := strings.Cut(a, "=")
			if !has && i+1 < len(args) {
				value = args[i+1]
			}
			if flag == "--model_id" || flag == "--model-id" {
				d.model(p, "huggingface", value, "", m.Get("args").line(), a)
			}
		}
		m.Get("env").each(func(_ string, k *Value) {
			if k.Get("name").text() == "MODEL_ID" {
				d.model(p, "huggingface", k.Get("value").text(), "", k.Get("value").line(), "MODEL_ID")
			}
		})
		for _, fw := range [...]string{"sklearn", "xgboost", "pytorch", "tensorflow", "triton", "onnx", "huggingface"} {
			uri(v.At("spec", "predictor", fw, "storageUri"))
		}
	case "LLMInferenceService":
		uri(v.At("spec", "model", "uri"))
	case "SeldonDeployment":
		v.At("spec", "predictors").each(func(_ string, k *Value) { uri(k.At("graph", "modelUri")) })
	case "Model":
		uri(v.At("spec", "url"))
		if strings.Contains(api, "ollama") {
			d.model(p, "ollama", v.At("spec", "image").text(), "", v.At("spec", "image").line(), "image")
		}
		uri(v.At("spec", "storageUri"))
	case "Workspace":
		if strings.Contains(api, "kaito") {
			n := v.At("inference", "preset", "name")
			d.model(p, "kaito", n.text(), "", n.line(), "preset")
		}
	case "ModelConfig":
		if strings.Contains(api, "kagent") {
			n := v.At("spec", "model")
			d.model(p, strings.ToLower(v.At("spec", "provider").text()), n.text(), "", n.line(), "model")
		}
	case "Agent":
		if strings.Contains(api, "kagent") {
			n := v.At("metadata", "name")
			d.Sightings = append(d.Sightings, d.sight(p, sight.Agent, n.text(), "", n.line(), "kind: Agent"))
		}
	case "MCPServer", "RemoteMCPServer":
		n := v.At("metadata", "name")
		d.Sightings = append(d.Sightings, d.sight(p, sight.MCPServer, n.text(), "", n.line(), "kind: "+kind))
	case "ConfigMap":
		v.Get("data").each(func(name string, k *Value) {
			if !strings.Contains(k.text(), "\n") {
				d.variable(p, name, k.text(), k.line())
			}
		})
	}
	pods(v, 0, func(c *Value) {
		command := c.Get("args")
		d.container(p, c.Get("image"), c.Get("env"), command, c.Get("command"), "Kubernetes command")
	})
	return d
}

// pods calls f for each container of a resource, however deep its template is.
func pods(v *Value, depth int, f func(*Value)) {
	if v == nil || depth > 12 {
		return
	}
	v.each(func(key string, k *Value) {
		if key == "containers" || key == "initContainers" {
			k.each(func(_ string, c *Value) { f(c) })
			return
		}
		pods(k, depth+1, f)
	})
}

// storage reads hf://org/model, s3://…, oci://….
func (d *Doc) storage(p, uri string, line int) {
	if id, ok := strings.CutPrefix(uri, "hf://"); ok {
		id, rev, _ := strings.Cut(id, ":")
		d.model(p, "huggingface", strings.TrimSuffix(id, "/"), rev, line, uri)
		return
	}
	if id, ok := strings.CutPrefix(uri, "ollama://"); ok {
		d.model(p, "ollama", id, "", line, uri)
		return
	}
	s := d.sight(p, sight.ModelFile, uri, "", line, uri)
	d.Sightings = append(d.Sightings, s)
}

// Kubernetes reads one resource: what its pods run, and the models that it
// names. p is the path for places.
func Kubernetes(p string, v *Value) Doc { return kubernetes(p, v) }
