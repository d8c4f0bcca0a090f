package file

import "github.com/modelwarden/warden"

// A verb is what calling a dangerous callable does: the rule that it breaks,
// how bad the call is, and what a reader is told.
type verb struct {
	rule     warden.RuleID
	severity warden.Severity
	sentence string // present tense: what would happen
}

// verbs explain the effects of the table.
var verbs = map[string]verb{
	"shell":   {rulePickleCall, warden.Critical, "Loading runs a shell command."},
	"spawn":   {rulePickleCall, warden.Critical, "Loading starts a program."},
	"code":    {rulePickleCall, warden.Critical, "Loading runs code that the file brings."},
	"import":  {rulePickleCall, warden.Critical, "Loading imports a module of the file's choice, which runs it."},
	"native":  {rulePickleCall, warden.Critical, "Loading reaches native code outside the interpreter."},
	"process": {rulePickleCall, warden.Critical, "Loading changes or stops the loading process."},
	"write":   {rulePickleCall, warden.Critical, "Loading writes or creates files."},
	"delete":  {rulePickleCall, warden.Critical, "Loading removes or moves files."},
	"type":    {rulePickleFunction, warden.High, "Loading makes a class at run time."},
	"patch":   {rulePicklePatch, warden.Critical, "Loading changes an object that the rest of the program uses."},
	"hook":    {rulePickleHook, warden.Critical, "Loading reaches into a security scanner, which can switch it off."},
	"net":     {rulePickleNet, warden.Critical, "Loading opens a network connection or asks a name server."},
	"read":    {rulePickleRead, warden.High, "Loading reads files, addresses or facts about the machine."},
	"load":    {rulePickleNested, warden.High, "Loading hands bytes to another loader, which can run code."},
	"codeobj": {rulePickleCode, warden.High, "Loading makes a function out of bytecode from the file."},
	"calls":   {rulePickleFunction, warden.High, "Loading calls a helper that calls what the file hands to it."},
	"lookup":  {rulePickleLookup, warden.High, "Loading looks an object up by text, so that its name does not show."},
}

const (
	rulePickleCall     warden.RuleID = "WDN-MF-001"
	rulePickleImport   warden.RuleID = "WDN-MF-002"
	rulePickleFunction warden.RuleID = "WDN-MF-003"
	rulePickleClass    warden.RuleID = "WDN-MF-004"
	rulePickleModule   warden.RuleID = "WDN-MF-005"
	rulePicklePatch    warden.RuleID = "WDN-MF-006"
	rulePickleNested   warden.RuleID = "WDN-MF-007"
	rulePickleData     warden.RuleID = "WDN-MF-008"
	rulePickleStartup  warden.RuleID = "WDN-MF-009"
	rulePickleCode     warden.RuleID = "WDN-MF-010"
	rulePickleBomb     warden.RuleID = "WDN-MF-011"
	rulePickleBroken   warden.RuleID = "WDN-MF-012"
	rulePickleHook     warden.RuleID = "WDN-MF-013"
	rulePickleNet      warden.RuleID = "WDN-MF-014"
	rulePickleRead     warden.RuleID = "WDN-MF-015"
	rulePickleLookup   warden.RuleID = "WDN-MF-016"
	ruleTensorMemory   warden.RuleID = "WDN-MF-017"
)

const (
	doNotLoad   = "Do not load this file. Ask the publisher for weights in safetensors, and treat machines that loaded it as compromised."
	lookAtClass = "Look at the class in the package that defines it: what its __setstate__ does runs on load. Prefer safetensors, or a loader with an allow list."
)

// pickleFrameworks are the controls that every finding here is evidence for.
var pickleFrameworks = []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000"}

// malwareFrameworks add the technique of a file that carries an attack.
var malwareFrameworks = append([]string{"mitre-atlas@5.6.0:AML.T0018.002"}, pickleFrameworks...)

var pickleRules = []warden.Rule{
	{ID: rulePickleCall, Title: "Loading calls a dangerous function", Severity: warden.Critical, Advice: doNotLoad, Frameworks: malwareFrameworks},
	{ID: rulePickleImport, Title: "A dangerous function is imported and not called", Severity: warden.High, Advice: "Do not load this file: what imports such a function can hand it to something that calls it.", Frameworks: pickleFrameworks},
	{ID: rulePickleFunction, Title: "Loading calls a function that is not known to be safe", Severity: warden.High, Advice: "Read the function in the package that defines it before you load the file; ask the publisher for a format without calls.", Frameworks: pickleFrameworks},
	{ID: rulePickleClass, Title: "An unknown class is built", Severity: warden.Medium, Advice: lookAtClass, Frameworks: pickleFrameworks},
	{ID: rulePickleModule, Title: "An unknown module is imported", Severity: warden.Medium, Advice: "Importing a module runs its top level. Check where the package comes from before you load the file.", Frameworks: pickleFrameworks},
	{ID: rulePicklePatch, Title: "A module, class or function is patched", Severity: warden.Critical, Advice: doNotLoad, Frameworks: malwareFrameworks},
	{ID: rulePickleNested, Title: "An inner stream is loaded", Severity: warden.Critical, Advice: "Do not load this file: what the inner stream does happens too.", Frameworks: malwareFrameworks},
	{ID: rulePickleData, Title: "A stream with calls lies in the data", Severity: warden.Medium, Advice: "Nothing loads it by itself. Find out which program unpacks these bytes before you use the file.", Frameworks: pickleFrameworks},
	{ID: rulePickleStartup, Title: "A file is written that will be run later", Severity: warden.Critical, Advice: doNotLoad, Frameworks: malwareFrameworks},
	{ID: rulePickleCode, Title: "The file carries bytecode", Severity: warden.High, Advice: "Bytecode cannot be read with certainty. Ask for the source and a file with weights only.", Frameworks: pickleFrameworks},
	{ID: rulePickleBomb, Title: "Values multiply themselves", Severity: warden.High, Advice: "Do not walk, print or compare the loaded value: it fills the memory.", Frameworks: []string{"mitre-atlas@5.6.0:AML.T0029"}},
	{ID: rulePickleBroken, Title: "The stream breaks off after something ran", Severity: warden.Medium, Advice: "The loader fails only after the calls before the break have happened. Fetch the file again and compare digests.", Frameworks: []string{"mitre-atlas@5.6.0:AML.T0076"}},
	{ID: rulePickleHook, Title: "A security scanner or its hook is reached", Severity: warden.Critical, Advice: doNotLoad, Frameworks: malwareFrameworks},
	{ID: rulePickleNet, Title: "Loading opens a connection", Severity: warden.Critical, Advice: "Do not load this file. Look for the address in your proxy and name server logs.", Frameworks: malwareFrameworks},
	{ID: rulePickleRead, Title: "Loading reads files or facts about the machine", Severity: warden.High, Advice: "Do not load this file where secrets can be read.", Frameworks: malwareFrameworks},
	tensorMemory,
	{ID: rulePickleLookup, Title: "An object is looked up by text", Severity: warden.High, Advice: "Honest files name what they use. Do not load this file before you know what the lookup finds.", Frameworks: pickleFrameworks},
}

// tensorMemory is the rule about checkpoints that corrupt the memory of torch.
var tensorMemory = warden.Rule{
	ID: ruleTensorMemory, Title: "Loading corrupts memory of torch", Severity: warden.High,
	Advice:     "Do not load this checkpoint with torch before 2.10, not even with weights_only=True. Ask for safetensors.",
	Frameworks: malwareFrameworks,
}
