package file

// A kind says what an operator does to what the check of graphs follows.
type kind uint8

const (
	other    kind = iota
	passes        // hands its first input on, in another form
	shapes        // makes the shape of a value
	dynamic       // makes a value whose shape depends on values
	equals        // compares for equality
	orders        // compares for order
	logic         // joins and turns truth values
	reduces       // makes few values of many: sums, extremes, parts
	chance        // draws at random
	products      // multiplies
	sums          // adds, or takes the greater
	scatters      // writes over parts of a value
)

// kinds of operators of ONNX. What is not listed hands all on and changes nothing.
var kinds = map[string]kind{
	"Identity": passes, "Cast": passes, "CastLike": passes, "Unsqueeze": passes, "Squeeze": passes, "Reshape": passes, "Expand": passes,
	"Flatten": passes, "Tile": passes, "Transpose": passes, "Clip": passes, "Abs": passes,
	"Shape": shapes, "Size": shapes,
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

// remoteOps send what they are given to a service.
var remoteOps = map[string]bool{
	"AzureTextToText": true, "AzureAudioToText": true, "AzureTritonInvoker": true, "OpenAIAudioToText": true, "AzureOpenAIChat": true, "AzureOpenAIEmbeddings": true,
}
