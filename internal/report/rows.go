package report

import (
	"bufio"
	"cmp"
	"encoding/json"
	"io"
	"slices"

	"rqvault/verify"
)

// sorted puts first what needs a person, then what was or will be done, then the rest.
func sorted(jobs []Job) []Job {
	order := map[verify.Verdict]int{}
	for i, v := range verify.Verdicts {
		order[v] = i
	}
	out := slices.Clone(jobs)
	slices.SortStableFunc(out, func(a, b Job) int {
		return cmp.Or(cmp.Compare(a.urgency(), b.urgency()), cmp.Compare(order[a.Verdict], order[b.Verdict]),
			cmp.Compare(a.DB, b.DB), cmp.Compare(a.Queue, b.Queue))
	})
	return out
}

func (j *Job) urgency() int {
	switch {
	case j.Result == "failed" || j.Result == "refused":
		return 0
	case j.held():
		return 1
	case j.Action != verify.None && j.Action != "":
		return 2
	}
	return 3
}

func (j *Job) held() bool {
	return j.Result == "held" || j.Result == "" && j.Action == verify.Hold
}

// Where gives the queue's name, with its database unless that is the first.
func (j *Job) Where() string { return queueName(j.DB, j.Queue) }

// writeRows writes the rows as one script element of JSON, for the page's script to show
// a part of: {"words": […], "rows": [[id, queue, status, verdict, action, result, reason,
// [evidence, …]], …]}. All but the ids are numbers of words, since most of them repeat a
// thousand times. encoding/json writes <, > and & as escapes, so that no name can end the
// element.
func writeRows(w *bufio.Writer, rows []Job) error {
	t := &wordTable{number: map[string]int{}}
	if _, err := io.WriteString(w, `<script type="application/json" id="rows">{"rows":[`); err != nil {
		return err
	}
	for i := range rows {
		j := &rows[i]
		row := []any{legible(j.ID), t.of(j.Where()), t.of(j.Status), t.of(string(j.Verdict)), t.of(string(j.Action)), t.of(j.Result), t.of(j.Reason)}
		if len(j.Evidence) > 0 {
			evidence := make([]int, len(j.Evidence))
			for k, text := range j.Evidence {
				evidence[k] = t.of(text)
			}
			row = append(row, evidence)
		}
		b, err := json.Marshal(row)
		if err != nil {
			return err
		}
		if i > 0 {
			b = append([]byte(",\n"), b...)
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	words, err := json.Marshal(t.words)
	if err != nil {
		return err
	}
	_, err = w.WriteString(`],"words":` + string(words) + "}</script>\n")
	return err
}

// wordTable numbers texts in the order in which they first come.
type wordTable struct {
	number map[string]int
	words  []string
}

func (t *wordTable) of(text string) int {
	n, ok := t.number[text]
	if !ok {
		n = len(t.words)
		t.number[text] = n
		t.words = append(t.words, legible(text))
	}
	return n
}
