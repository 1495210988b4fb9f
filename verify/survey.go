package verify

import (
	"rqvault/internal/job"
)

// survey looks for what a flush would have taken, before any job is judged. kept lists
// the databases that still have jobs just as the snapshot had them, not put there by a
// restore: whatever was emptied since, those were not. gone lists those from which
// records of ended jobs vanished before their time, as nothing in RQ makes them.
func (o *Options) survey(live Rows, restored map[JobKey]bool) (kept, gone map[int32]bool, err error) {
	kept, gone = map[int32]bool{}, map[int32]bool{}
	now := o.Now().UnixMilli()
	for p, err := range merge(o.Rows(), live) {
		if err != nil {
			return nil, nil, err
		}
		s, l := p.snap, p.live
		if s == nil || !s.Exists {
			continue
		}
		_, ours := restored[JobKey{s.DB, s.ID}]
		switch {
		case l != nil && l.Exists:
			if !ours && l.CreatedAt == s.CreatedAt && l.Version() == s.Version() {
				kept[s.DB] = true
			}
		case (s.Status == job.Finished || s.Status == job.Failed) && (s.ExpireAt == 0 || s.ExpireAt > now):
			gone[s.DB] = true
		}
	}
	return kept, gone, nil
}
