package tensorflow

// An Effect is what an operator does besides computing tensors.
type Effect uint8

// The effects.
const (
	None    Effect = iota
	Python         // calls a Python function
	Write          // writes or removes files
	Read           // reads files or lists folders
	Network        // opens connections
	Library        // loads native code
	Save           // writes a checkpoint
	Restore        // reads a checkpoint
	Print          // prints to the console or to a file
)

// effects are facts about the operators of TensorFlow and of its usual
// companions. Operators that read the vocabulary of a lookup table are left out:
// exporters write paths of the building machine there, which loaders replace.
var effects = map[string]Effect{
	"PyFunc": Python, "PyFuncStateless": Python, "EagerPyFunc": Python,

	"WriteFile": Write, "CreateSummaryFileWriter": Write, "CreateSummaryDbWriter": Write, "SaveDataset": Write, "SaveDatasetV2": Write,
	"DatasetToTFRecord": Write, "SnapshotDatasetWriter": Write, "WriteGraphSummary": Write, "ExperimentalDatasetToTFRecord": Write,
	"WriteAudioSummary": Write,

	"ReadFile": Read, "MatchingFiles": Read, "WholeFileReader": Read, "WholeFileReaderV2": Read, "MatchingFilesDataset": Read,
	"ExperimentalMatchingFilesDataset": Read, "SqlDataset": Read, "ExperimentalSqlDataset": Read, "LMDBReader": Read, "LMDBDataset": Read,
	"ExperimentalLMDBDataset": Read, "LoadAndRemapMatrix": Read, "GenerateVocabRemapping": Read, "TextLineDataset": Read,
	"TFRecordDataset": Read, "TFRecordDatasetV2": Read, "FixedLengthRecordDataset": Read, "FixedLengthRecordDatasetV2": Read,
	"LoadDataset": Read, "CSVDataset": Read, "CSVDatasetV2": Read, "TextLineReader": Read, "TextLineReaderV2": Read,
	"TFRecordReader": Read, "TFRecordReaderV2": Read, "FixedLengthRecordReader": Read, "FixedLengthRecordReaderV2": Read,
	"IO>FileRead": Read, "IO>FileEntries": Read,

	"DebugIdentity": Network, "DebugIdentityV2": Network, "DebugIdentityV3": Network, "DebugNanCount": Network, "DebugNumericSummary": Network,
	"DataServiceDataset": Network, "DataServiceDatasetV2": Network, "DataServiceDatasetV3": Network, "DataServiceDatasetV4": Network,
	"RegisterDataset": Network, "RegisterDatasetV2": Network, "BigQueryReader": Network, "RpcCall": Network, "RpcClient": Network, "RpcServer": Network,
	"Rpc": Network, "TryRpc": Network,

	"LoadLibrary": Library, "LoadOpLibrary": Library, "LoadPluggableDeviceLibrary": Library,

	"Save": Save, "SaveV2": Save, "SaveSlices": Save, "MergeV2Checkpoints": Save,
	"Restore": Restore, "RestoreV2": Restore, "RestoreSlice": Restore, "CheckpointHasKey": Restore,

	"PrintV2": Print,
}

// EffectOf returns what an operator does besides computing.
func EffectOf(op string) Effect { return effects[op] }
