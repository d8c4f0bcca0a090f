package guard

import (
	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/check/prompt"
)

// Rules returns every rule that the examination of an exchange may report, by id.
func Rules() map[warden.RuleID]warden.Rule {
	rules := map[warden.RuleID]warden.Rule{}
	for _, d := range Detectors() {
		for _, r := range d.Rules {
			rules[r.ID] = r
		}
	}
	return rules
}

// Detectors describes every check of an exchange.
func Detectors() []detect.Info {
	var infos []detect.Info
	for _, d := range prompt.Requests() {
		infos = append(infos, d.Info())
	}
	for _, d := range prompt.Output() {
		infos = append(infos, d.Info())
	}
	return append(infos, prompt.Canary())
}
