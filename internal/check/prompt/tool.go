package prompt

import (
	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
)

// Tool is what is known about a function that models call.
type Tool struct{ Name string }

// Flow is a rule about what may go from where to where.
type Flow struct{ From string }

// TensorSpec declares an input of a classifier.
type TensorSpec struct{ Name string }

func codeDetectors() []*detect.Detector[*Input] { return nil }

var codeEffects = map[warden.RuleID]warden.Effect{}

// CheckDeclared checks what an operator declares.
func CheckDeclared(tools []Tool, flows []Flow, tensors []TensorSpec) error { return nil }

// Calls returns the detectors of what models want from tools.
func Calls() []*detect.Detector[*Input] { return codeDetectors() }
