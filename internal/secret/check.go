package secret

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// quotes are those that people and word processors put around text.
const quotes = "\"'`“”‘’„«»"

// CheckToken refuses what no token, client secret or refresh token can be, white space around it left out. The error
// begins with a verb, says what to do, and shows nothing of the value.
func CheckToken(value string) error {
	value, err := text(value)
	first, _ := utf8.DecodeRuneInString(value)
	last, _ := utf8.DecodeLastRuneInString(value)
	switch {
	case err != nil:
		return err
	case strings.ContainsRune(quotes, first) || strings.ContainsRune(quotes, last):
		return errors.New("begins or ends with a quote: write it without quotes")
	case strings.ContainsFunc(value, unicode.IsSpace):
		return errors.New("has white space within: write only the token or secret itself")
	case strings.ContainsFunc(value, func(r rune) bool { return r > unicode.MaxASCII }):
		return errors.New("has a character that is not ASCII, as no token has: copy it once more from where it was made")
	}
	return nil
}

// CheckPassword refuses what no password can be, or hardly any is meant to be, white space around it left out. A
// password may have spaces, quotes and letters of any language. The error is of the same kind as CheckToken's.
func CheckPassword(value string) error {
	value, err := text(value)
	switch {
	case err != nil:
		return err
	case len(value) > 1 && value[0] == value[len(value)-1] && (value[0] == '"' || value[0] == '\''):
		return errors.New("is in quotes: write it without them")
	}
	return nil
}

// text is the value without the white space around it, if that is one line of text in UTF-8.
func text(value string) (string, error) {
	trimmed := strings.TrimSpace(value)
	switch {
	case trimmed == "":
		return "", errors.New("is empty: write the secret on its first line")
	case strings.HasPrefix(value, "\xff\xfe"), strings.HasPrefix(value, "\xfe\xff"):
		return "", errors.New("is UTF-16: save it as UTF-8 without a byte order mark")
	case strings.Contains(value, "\ufeff"):
		return "", errors.New("begins with a byte order mark: save it as UTF-8 without one")
	case !utf8.ValidString(value):
		return "", errors.New("is not UTF-8: save it as UTF-8")
	case bearer(trimmed):
		return "", errors.New("begins with the word Bearer: write only what follows the word")
	case strings.ContainsAny(trimmed, "\r\n"):
		return "", errors.New("has more than one line: write the secret alone, on one line")
	case strings.ContainsFunc(trimmed, unicode.IsControl):
		return "", errors.New("has a control character: write the secret as plain text, on one line")
	}
	return trimmed, nil
}

// bearer tells whether the value begins with the word by which a header of HTTP announces a token.
func bearer(value string) bool {
	const word = "bearer"
	if len(value) < len(word) || !strings.EqualFold(value[:len(word)], word) {
		return false
	}
	rest := value[len(word):]
	return rest == "" || rest[0] == ' ' || rest[0] == '\t'
}
