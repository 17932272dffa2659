// Reads text logs of yotpo-td with a logfmt parser.
//
// Usage: logfmt TEXT JSON RUN. TEXT and JSON hold the same lines in both formats; every field must have the same value. RUN is the
// text log of a real run at debug: every line must parse, and have the fields of the run.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/go-logfmt/logfmt"
)

// Fields of a JSON line that a text line has as words, or not at all.
var wordsOnly = []string{"level", "message", "target", "timestamp", "trace_id", "span_id"}

// A line of a real run has these after the run has started.
var runFields = []string{"run_id", "store_id", "database", "table", "mode", "elapsed_seconds"}

type line struct {
	// Keys without a value: time, level, the words of the message, and fields whose value is empty.
	words  []string
	fields map[string]string
}

func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "logfmt: "+format+"\n", values...)
	os.Exit(1)
}

func read(path string) []byte {
	content, err := os.ReadFile(path)
	if err != nil {
		fail("%v", err)
	}
	return content
}

// The lines of a text log. A field that occurs twice is an error.
func parse(path string) []line {
	var lines []line
	decoder := logfmt.NewDecoder(bytes.NewReader(read(path)))
	for decoder.ScanRecord() {
		parsed := line{fields: map[string]string{}}
		for decoder.ScanKeyval() {
			key := string(decoder.Key())
			if decoder.Value() == nil {
				parsed.words = append(parsed.words, key)
				continue
			}
			if _, twice := parsed.fields[key]; twice {
				fail("%s: line %d has %s twice", path, len(lines)+1, key)
			}
			parsed.fields[key] = string(decoder.Value())
		}
		lines = append(lines, parsed)
	}
	if err := decoder.Err(); err != nil {
		fail("%s: %v", path, err)
	}
	return lines
}

// A JSON value as text shows it.
func shown(value any) string {
	if number, ok := value.(json.Number); ok {
		return number.String()
	}
	return fmt.Sprint(value)
}

func compare(text, object string) int {
	lines := parse(text)
	objects := strings.Split(strings.TrimSuffix(string(read(object)), "\n"), "\n")
	if len(lines) != len(objects) || len(lines) == 0 {
		fail("%d lines of text, %d of JSON", len(lines), len(objects))
	}
	for number, encoded := range objects {
		decoder := json.NewDecoder(strings.NewReader(encoded))
		decoder.UseNumber()
		expected := map[string]any{}
		if err := decoder.Decode(&expected); err != nil {
			fail("%s: line %d: %v", object, number+1, err)
		}
		for _, name := range wordsOnly {
			delete(expected, name)
		}
		found := lines[number].fields
		for _, word := range lines[number].words {
			if expected[word] == "" {
				found[word] = ""
			}
		}
		for name, value := range expected {
			if actual, ok := found[name]; !ok || actual != shown(value) {
				fail("line %d: %s is %q in text and %q in JSON", number+1, name, actual, shown(value))
			}
		}
		if len(found) != len(expected) {
			fail("line %d: text has other fields: %v, JSON %v", number+1, found, expected)
		}
	}
	return len(lines)
}

func main() {
	if len(os.Args) != 4 {
		fail("usage: logfmt TEXT JSON RUN")
	}
	compared := compare(os.Args[1], os.Args[2])
	started := false
	lines := parse(os.Args[3])
	for number, parsed := range lines {
		started = started || len(parsed.words) > 0 && parsed.words[len(parsed.words)-1] == "started"
		for _, name := range runFields {
			if _, ok := parsed.fields[name]; started && !ok {
				fail("line %d of the run has no %s: %v", number+1, name, parsed)
			}
		}
	}
	if !started || len(lines) < 20 {
		fail("no log of a run: %d lines", len(lines))
	}
	fmt.Printf("logfmt: %d lines have the same fields as JSON, and %d lines of a run parse\n", compared, len(lines))
}
