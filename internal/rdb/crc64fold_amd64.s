#include "textflag.h"

// One lane of sixteen bytes: X = X.low*key.low + X.high*key.high + p[at:].
#define LANE(X, T, at) \
	MOVOA X, T               \
	PCLMULQDQ $0x00, X8, X   \
	PCLMULQDQ $0x11, X8, T   \
	PXOR T, X                \
	MOVOU at(SI), T          \
	PXOR T, X

// func fold(block *[foldBlock]byte, keys *[2]uint64, p []byte)
TEXT ·fold(SB), NOSPLIT, $0-40
	MOVQ block+0(FP), DI
	MOVQ keys+8(FP), BX
	MOVQ p_base+16(FP), SI
	MOVQ p_len+24(FP), CX
	MOVOU (BX), X8
	MOVOU 0(DI), X0
	MOVOU 16(DI), X1
	MOVOU 32(DI), X2
	MOVOU 48(DI), X3
loop:
	LANE(X0, X4, 0)
	LANE(X1, X5, 16)
	LANE(X2, X6, 32)
	LANE(X3, X7, 48)
	ADDQ $64, SI
	SUBQ $64, CX
	JNZ loop
	MOVOU X0, 0(DI)
	MOVOU X1, 16(DI)
	MOVOU X2, 32(DI)
	MOVOU X3, 48(DI)
	RET
