package seekable

import "github.com/klauspost/compress/zstd"

// Payloads of jobs are mostly packed or random already, and then the fastest level stores
// them as small as the default one, in a third of the time. So the beginning of one frame in
// many is packed at both levels, and that frame and those after it at the one that pays.
const (
	tryEvery = 32        // frames
	tryBytes = 256 << 10 // of one frame
	worth    = 50        // the default level must save more than one part in so many
)

// trial is what trying both levels on one frame came to.
type trial struct {
	done  chan struct{} // closed when dense is known
	dense bool          // the default level pays
}

// trials says by which trial each frame goes, so that the stored bytes do not depend on who
// packed what when: the frames before the second trial go by the first one, and later ones
// by the last but one, which is over by then.
type trials struct {
	fast      bool // none: always the fastest level
	frames    int
	cur, last *trial
}

// next returns the next frame's trial, and whether that frame is to decide it.
func (t *trials) next() (by *trial, tries bool) {
	if t.fast {
		return nil, false
	}
	tries = t.frames%tryEvery == 0
	t.frames++
	if tries {
		t.last, t.cur = t.cur, &trial{done: make(chan struct{})}
		return t.cur, true
	}
	if t.last != nil {
		return t.last, false
	}
	return t.cur, false
}

// packer is the encoders of one worker.
type packer struct {
	fast, dense *zstd.Encoder
	tried       []byte // what was packed to find out which level pays
}

func newPacker() (*packer, error) {
	// A single segment makes even the smallest frame declare its size.
	common := []zstd.EOption{zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1 << 20), zstd.WithSingleSegment(true), zstd.WithEncoderCRC(true)}
	dense, err := zstd.NewWriter(nil, append(common, zstd.WithEncoderLevel(zstd.SpeedDefault))...)
	if err != nil {
		return nil, err
	}
	// Literals that no match was found for can still have shorter codes.
	fast, err := zstd.NewWriter(nil, append(common, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithAllLitEntropyCompression(true))...)
	return &packer{fast: fast, dense: dense}, err
}

// pack returns the frame, in buf if that has the room.
func (p *packer) pack(t *task, buf []byte) []byte {
	if t.tries {
		t.trial.dense = p.pays(t.raw[:min(len(t.raw), tryBytes)])
		close(t.trial.done)
	}
	if t.trial != nil {
		<-t.trial.done
		if t.trial.dense {
			return p.dense.EncodeAll(t.raw, buf)
		}
	}
	return p.fast.EncodeAll(t.raw, buf)
}

// pays reports whether the default level is worth its time on bytes like these.
func (p *packer) pays(raw []byte) bool {
	p.tried = p.fast.EncodeAll(raw, p.tried[:0])
	fast := len(p.tried)
	p.tried = p.dense.EncodeAll(raw, p.tried[:0])
	return (fast-len(p.tried))*worth > fast
}
