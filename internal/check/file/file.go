// Package file holds the checks of model files: a parsed file in, findings out.
// Each check is a variable in a file named after what it looks at.
package file

import (
	"slices"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
)

// All lists every detector of model files, in the order in which they run. The
// slice is the caller's.
func All() []*detect.Detector[*format.File] {
	return slices.Clone([]*detect.Detector[*format.File]{
		containers,
		templates,
		tensorTables,
		onnxModels,
		graphLogic,
		kerasModels,
		tensorflowGraphs,
		configurations,
		torchArchives,
		torchStorages,
		rObjects,
		manifests,
		xmlModels,
		msgpackValues,
		programs,
		namedCode,
		disguises,
		metadata(),
		searches,
		luaFunctions,
		engines,
		parts,
		images,
		pythonSource,
		pickles,
	})
}
