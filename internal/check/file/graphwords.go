package file

import "github.com/modelwarden/warden/internal/format/graph"

// A kind says what an operator does to what the check of graphs follows.
type kind uint8

const (
	other    kind = iota
	passes        // hands its first input on, in another form
	bends         // so too, but changes the numbers: absolute values, clipping
	shapes        // makes the shape of a value
	fills         // makes a value of its first input's shape, all of its second
	dynamic       // makes a value whose shape depends on values
	equals        // compares for equality
	orders        // compares for order
	tests         // compares with what stands in its attributes
	logic         // joins and turns truth values
	reduces       // makes few values of many: sums, extremes, parts
	chance        // draws at random, or asks for the time
	products      // multiplies
	sums          // adds, or takes the greater
	scatters      // writes over parts of a value
)

// A dialect is what the check knows of the operators of one format. An operator
// that is not listed hands all on and changes nothing.
type dialect struct {
	kinds  map[string]kind
	places map[string]bool // selectors that decide for each place
}

// words of the dialects.
var words = map[string]*dialect{
	graph.ONNX:       {onnxKinds, map[string]bool{"Where": true}},
	graph.TensorFlow: {tensorflowKinds, map[string]bool{"Select": true, "SelectV2": true}},
	graph.Torch:      {torchKinds, map[string]bool{"where": true, "masked_fill": true, "masked_fill_": true, "index_put_": true, "index_put": true}},
}

// onnxKinds are the operators of ONNX.
var onnxKinds = map[string]kind{
	"Identity": passes, "Cast": passes, "CastLike": passes, "Unsqueeze": passes, "Squeeze": passes, "Reshape": passes, "Expand": passes,
	"Flatten": passes, "Tile": passes, "Transpose": passes, "Clip": bends, "Abs": bends,
	"Shape": shapes, "Size": shapes, "ConstantOfShape": fills,
	"NonZero": dynamic, "Unique": dynamic, "Compress": dynamic,
	"Equal": equals, "Less": orders, "LessOrEqual": orders, "Greater": orders, "GreaterOrEqual": orders,
	"Not": logic, "And": logic, "Or": logic, "Xor": logic,
	"ReduceSum": reduces, "ReduceMean": reduces, "ReduceMax": reduces, "ReduceMin": reduces, "ReduceProd": reduces, "ReduceL1": reduces,
	"ReduceL2": reduces, "ReduceLogSum": reduces, "ReduceLogSumExp": reduces, "ReduceSumSquare": reduces, "GlobalAveragePool": reduces,
	"GlobalMaxPool": reduces, "Slice": reduces, "Gather": reduces, "GatherND": reduces, "GatherElements": reduces, "Split": reduces,
	"ArgMax": reduces, "ArgMin": reduces, "TopK": reduces, "MatMul": reduces, "Gemm": reduces, "Einsum": reduces, "CumSum": reduces, "Mod": reduces,
	"StringNormalizer": reduces, "Conv": reduces,
	"RandomUniform": chance, "RandomNormal": chance, "RandomUniformLike": chance, "RandomNormalLike": chance, "Bernoulli": chance, "Multinomial": chance,
	"Mul": products,
	"Add": sums, "Sub": sums, "Sum": sums, "Max": sums, "Min": sums,
	"ScatterND": scatters, "ScatterElements": scatters, "Scatter": scatters, "TensorScatter": scatters,
}

// tensorflowKinds are the operators of TensorFlow.
var tensorflowKinds = map[string]kind{
	"Identity": passes, "IdentityN": passes, "StopGradient": passes, "PreventGradient": passes, "Snapshot": passes, "Cast": passes, "ExpandDims": passes,
	"Squeeze": passes, "Reshape": passes, "Tile": passes, "BroadcastTo": passes, "Transpose": passes, "EnsureShape": passes, "CheckNumerics": passes,
	"Enter": passes, "RefEnter": passes, "Exit": passes, "RefExit": passes, "NextIteration": passes, "RefNextIteration": passes, "Switch": passes,
	"RefSwitch": passes, "RefIdentity": passes, "ReadVariableOp": passes, "Print": passes, "DeepCopy": passes,
	"Abs": bends, "ClipByValue": bends,
	"Shape": shapes, "ShapeN": shapes, "Size": shapes, "Rank": shapes, "Fill": fills,
	"Where": dynamic, "Unique": dynamic, "UniqueV2": dynamic, "UniqueWithCounts": dynamic, "UniqueWithCountsV2": dynamic, "DynamicPartition": dynamic,
	"NonMaxSuppression": dynamic, "NonMaxSuppressionV2": dynamic, "NonMaxSuppressionV3": dynamic, "NonMaxSuppressionV4": dynamic, "NonMaxSuppressionV5": dynamic,
	"Equal": equals, "NotEqual": equals, "ApproximateEqual": equals,
	"Less": orders, "LessEqual": orders, "Greater": orders, "GreaterEqual": orders,
	"RegexFullMatch": equals, "StaticRegexFullMatch": tests,
	"LogicalNot": logic, "LogicalAnd": logic, "LogicalOr": logic, "BitwiseAnd": logic, "BitwiseOr": logic, "BitwiseXor": logic,
	"Sum": reduces, "Mean": reduces, "Max": reduces, "Min": reduces, "Prod": reduces, "All": reduces, "Any": reduces, "EuclideanNorm": reduces,
	"L2Loss": reduces, "ArgMax": reduces, "ArgMin": reduces, "StridedSlice": reduces, "Slice": reduces, "Gather": reduces, "GatherV2": reduces,
	"GatherNd": reduces, "ResourceGather": reduces, "Split": reduces, "SplitV": reduces, "Unpack": reduces, "TopK": reduces, "TopKV2": reduces,
	"MatMul": reduces, "BatchMatMul": reduces, "BatchMatMulV2": reduces, "BatchMatMulV3": reduces, "Einsum": reduces, "Conv2D": reduces, "Conv3D": reduces,
	"AvgPool": reduces, "Cumsum": reduces, "Mod": reduces, "FloorMod": reduces, "TruncateMod": reduces, "SegmentSum": reduces, "UnsortedSegmentSum": reduces,
	"ReduceJoin": reduces, "Bincount": reduces, "DenseBincount": reduces, "StringToHashBucket": reduces, "StringToHashBucketFast": reduces,
	"StringToHashBucketStrong": reduces, "Fingerprint": reduces, "Substr": reduces,
	"RandomUniform": chance, "RandomStandardNormal": chance, "RandomUniformInt": chance, "TruncatedNormal": chance, "StatelessRandomUniform": chance,
	"StatelessRandomUniformV2": chance, "StatelessRandomNormal": chance, "StatelessRandomNormalV2": chance, "StatefulUniform": chance,
	"StatefulStandardNormalV2": chance, "Multinomial": chance, "RandomGamma": chance, "Timestamp": chance,
	"Mul": products, "MulNoNan": products,
	"Add": sums, "AddV2": sums, "AddN": sums, "Sub": sums, "BiasAdd": sums, "Maximum": sums, "Minimum": sums,
	"TensorScatterUpdate": scatters, "TensorScatterAdd": scatters, "TensorScatterSub": scatters, "TensorScatterMax": scatters, "TensorScatterMin": scatters,
	"TensorStridedSliceUpdate": scatters,
}

// torchKinds are the functions and methods of torch that TorchScript calls. Those
// that work in place have the same kind, and "_" at the end.
var torchKinds = map[string]kind{
	"to": passes, "float": passes, "int": passes, "bool": passes, "Float": passes, "Int": passes, "Bool": passes, "item": passes, "unsqueeze": passes,
	"squeeze": passes, "view": passes, "reshape": passes, "expand": passes, "expand_as": passes, "flatten": passes, "permute": passes, "transpose": passes,
	"t": passes, "contiguous": passes, "clone": passes, "detach": passes, "type_as": passes, "repeat": passes, "tile": passes, "broadcast_to": passes,
	"alias": passes, "lift_fresh": passes, "NumToTensor": passes, "ScalarImplicit": passes, "IntImplicit": passes, "FloatImplicit": passes, "tensor": passes,
	"_cast_Float": passes, "return": passes, "long": passes, "double": passes, "half": passes,
	"abs": bends, "clamp": bends, "clip": bends, "clamp_min": bends, "clamp_max": bends,
	"size": shapes, "len": shapes, "dim": shapes, "numel": shapes, "shape": shapes, "device": shapes, "dtype": shapes, "layout": shapes, "sym_size": shapes,
	"zeros_like": shapes, "ones_like": shapes, "empty_like": shapes, "new_zeros": shapes, "new_ones": shapes, "new_empty": shapes, "is_cuda": shapes,
	"is_floating_point": shapes, "ndimension": shapes, "isinstance": shapes, "option": shapes, "_shape_as_tensor": shapes,
	"full": fills, "zeros": fills,
	"nonzero": dynamic, "unique": dynamic, "_unique2": dynamic, "unique_consecutive": dynamic, "masked_select": dynamic, "nms": dynamic,
	"eq": equals, "ne": equals, "equal": equals, "isclose": equals, "allclose": equals, "__contains__": equals, "isin": equals,
	"lt": orders, "le": orders, "gt": orders, "ge": orders, "less": orders, "greater": orders, "less_equal": orders, "greater_equal": orders,
	"__not__": logic, "logical_not": logic, "logical_and": logic, "logical_or": logic, "logical_xor": logic, "bitwise_and": logic, "bitwise_or": logic,
	"bitwise_not": logic, "__and__": logic, "__or__": logic, "__xor__": logic,
	"sum": reduces, "mean": reduces, "max": reduces, "min": reduces, "amax": reduces, "amin": reduces, "prod": reduces, "all": reduces, "any": reduces,
	"norm": reduces, "argmax": reduces, "argmin": reduces, "select": reduces, "slice": reduces, "index": reduces, "index_select": reduces, "gather": reduces,
	"__getitem__": reduces, "topk": reduces, "matmul": reduces, "mm": reduces, "bmm": reduces, "addmm": reduces, "linear": reduces, "conv1d": reduces,
	"conv2d": reduces, "conv3d": reduces, "_convolution": reduces, "einsum": reduces, "cumsum": reduces, "remainder": reduces, "fmod": reduces, "std": reduces,
	"var": reduces, "avg_pool2d": reduces, "adaptive_avg_pool2d": reduces, "split": reduces, "chunk": reduces, "unbind": reduces, "dot": reduces,
	"median": reduces, "narrow": reduces, "count_nonzero": reduces, "tolist": reduces,
	"rand": chance, "randn": chance, "rand_like": chance, "randn_like": chance, "randint": chance, "bernoulli": chance, "multinomial": chance,
	"randperm": chance, "normal": chance, "uniform": chance, "time": chance, "manual_seed": chance,
	"mul": products, "multiply": products, "add": sums, "sub": sums, "rsub": sums, "maximum": sums, "minimum": sums,
	"scatter": scatters, "masked_scatter": scatters, "slice_scatter": scatters, "select_scatter": scatters,
}

// remoteOps send what they are given to a service.
var remoteOps = map[string]bool{
	"AzureTextToText": true, "AzureAudioToText": true, "AzureTritonInvoker": true, "OpenAIAudioToText": true, "AzureOpenAIChat": true, "AzureOpenAIEmbeddings": true,
}
