package python

// A tok is the kind of a token.
type tok uint8

const (
	tEOF tok = iota
	tNewline
	tIndent
	tDedent
	tName
	tNumber
	tString
	tFStart  // prefix and quote of an f-string
	tFMiddle // literal text in it
	tFEnd
	tFColon // what starts a format
	tFBang  // what starts a conversion
	tError

	// Operators.
	tLParen
	tRParen
	tLBracket
	tRBracket
	tLBrace
	tRBrace
	tComma
	tColon
	tSemi
	tDot
	tEllipsis
	tAssign
	tAugAssign
	tWalrus
	tArrow
	tAt
	tPlus
	tMinus
	tStar
	tStarStar
	tSlash
	tSlashSlash
	tPercent
	tAmp
	tPipe
	tCaret
	tTilde
	tShl
	tShr
	tLess
	tGreater
	tEq
	tNe
	tLe
	tGe
	tBackquote

	// Keywords.
	tAnd
	tAs
	tAssert
	tAsync
	tAwait
	tBreak
	tClass
	tContinue
	tDef
	tDel
	tElif
	tElse
	tExcept
	tFalse
	tFinally
	tFor
	tFrom
	tGlobal
	tIf
	tImport
	tIn
	tIs
	tLambda
	tNone
	tNonlocal
	tNot
	tOr
	tPass
	tRaise
	tReturn
	tTrue
	tTry
	tWhile
	tWith
	tYield

	numToks
)

// spelling holds the tokens that are always written alike.
var spelling = [numToks]string{
	tLParen: "(", tRParen: ")", tLBracket: "[", tRBracket: "]", tLBrace: "{", tRBrace: "}", tComma: ",",
	tColon: ":", tSemi: ";", tDot: ".", tEllipsis: "...", tAssign: "=", tWalrus: ":=", tArrow: "->", tAt: "@",
	tPlus: "+", tMinus: "-", tStar: "*", tStarStar: "**", tSlash: "/", tSlashSlash: "//", tPercent: "%",
	tAmp: "&", tPipe: "|", tCaret: "^", tTilde: "~", tShl: "<<", tShr: ">>", tLess: "<", tGreater: ">",
	tEq: "==", tNe: "!=", tLe: "<=", tGe: ">=", tBackquote: "`",
	tAnd: "and", tAs: "as", tAssert: "assert", tAsync: "async", tAwait: "await", tBreak: "break",
	tClass: "class", tContinue: "continue", tDef: "def", tDel: "del", tElif: "elif", tElse: "else",
	tExcept: "except", tFalse: "False", tFinally: "finally", tFor: "for", tFrom: "from", tGlobal: "global",
	tIf: "if", tImport: "import", tIn: "in", tIs: "is", tLambda: "lambda", tNone: "None",
	tNonlocal: "nonlocal", tNot: "not", tOr: "or", tPass: "pass", tRaise: "raise", tReturn: "return",
	tTrue: "True", tTry: "try", tWhile: "while", tWith: "with", tYield: "yield",
	tEOF: "end of file", tNewline: "end of line", tIndent: "indentation", tDedent: "end of block",
	tName: "name", tNumber: "number", tString: "string", tFStart: "f-string", tFMiddle: "f-string",
	tFEnd: "end of f-string", tFColon: ":", tFBang: "!", tError: "error", tAugAssign: "augmented assignment",
}

// keyword returns the token of an identifier.
func keyword(s string) tok {
	switch len(s) {
	case 2:
		switch s {
		case "as":
			return tAs
		case "if":
			return tIf
		case "in":
			return tIn
		case "is":
			return tIs
		case "or":
			return tOr
		}
	case 3:
		switch s {
		case "and":
			return tAnd
		case "def":
			return tDef
		case "del":
			return tDel
		case "for":
			return tFor
		case "not":
			return tNot
		case "try":
			return tTry
		}
	case 4:
		switch s {
		case "elif":
			return tElif
		case "else":
			return tElse
		case "from":
			return tFrom
		case "None":
			return tNone
		case "pass":
			return tPass
		case "True":
			return tTrue
		case "with":
			return tWith
		}
	case 5:
		switch s {
		case "async":
			return tAsync
		case "await":
			return tAwait
		case "break":
			return tBreak
		case "class":
			return tClass
		case "False":
			return tFalse
		case "raise":
			return tRaise
		case "while":
			return tWhile
		case "yield":
			return tYield
		}
	case 6:
		switch s {
		case "assert":
			return tAssert
		case "except":
			return tExcept
		case "global":
			return tGlobal
		case "import":
			return tImport
		case "lambda":
			return tLambda
		case "return":
			return tReturn
		}
	case 7:
		if s == "finally" {
			return tFinally
		}
	case 8:
		switch s {
		case "continue":
			return tContinue
		case "nonlocal":
			return tNonlocal
		}
	}
	return tName
}

// operatorAt returns the operator at the start of s and its length.
func operatorAt(s string) (tok, int) {
	at := func(i int) byte {
		if i < len(s) {
			return s[i]
		}
		return 0
	}
	// pick tells x, x=, xx and xx= apart.
	pick := func(one, two tok) (tok, int) {
		switch {
		case at(1) == '=':
			return tAugAssign, 2
		case two != tError && at(1) == s[0] && at(2) == '=':
			return tAugAssign, 3
		case two != tError && at(1) == s[0]:
			return two, 2
		}
		return one, 1
	}
	switch s[0] {
	case '(':
		return tLParen, 1
	case ')':
		return tRParen, 1
	case '[':
		return tLBracket, 1
	case ']':
		return tRBracket, 1
	case '{':
		return tLBrace, 1
	case '}':
		return tRBrace, 1
	case ',':
		return tComma, 1
	case ';':
		return tSemi, 1
	case '~':
		return tTilde, 1
	case '`':
		return tBackquote, 1
	case ':':
		if at(1) == '=' {
			return tWalrus, 2
		}
		return tColon, 1
	case '.':
		if at(1) == '.' && at(2) == '.' {
			return tEllipsis, 3
		}
		return tDot, 1
	case '=':
		if at(1) == '=' {
			return tEq, 2
		}
		return tAssign, 1
	case '!':
		if at(1) == '=' {
			return tNe, 2
		}
		return tError, 1
	case '-':
		if at(1) == '>' {
			return tArrow, 2
		}
		return pick(tMinus, tError)
	case '<':
		switch at(1) {
		case '=':
			return tLe, 2
		case '>':
			return tNe, 2
		}
		return pick(tLess, tShl)
	case '>':
		if at(1) == '=' {
			return tGe, 2
		}
		return pick(tGreater, tShr)
	case '+':
		return pick(tPlus, tError)
	case '*':
		return pick(tStar, tStarStar)
	case '/':
		return pick(tSlash, tSlashSlash)
	case '%':
		return pick(tPercent, tError)
	case '@':
		return pick(tAt, tError)
	case '&':
		return pick(tAmp, tError)
	case '|':
		return pick(tPipe, tError)
	case '^':
		return pick(tCaret, tError)
	}
	return tError, 1
}

// startsLine reports whether a keyword that begins a line proves that a
// bracket above was never closed: none of these may stand inside brackets.
func (k tok) startsLine() bool {
	switch k {
	case tAssert, tBreak, tClass, tContinue, tDef, tDel, tElif, tExcept, tFinally, tGlobal, tImport, tNonlocal, tPass, tRaise, tReturn, tTry, tWhile, tWith:
		return true
	default:
		return false
	}
}

// A token is a piece of the source.
type token struct {
	kind       tok
	flag       uint8 // of strings: what the prefix says
	start, end int32
}

// What the prefix of a string says.
const (
	strRaw uint8 = 1 << iota
	strBytes
	strFormat
	strTemplate
	strTriple
	strSpec // of a tFMiddle: part of a format, where {{ means nothing
)
