/* Elements out of and into the rows that Blosc shuffles a block into: one for each byte of an element, with that byte of all of them.
 * Only what is wanted is put together, and rows that Blosc could not compress are read where they lie. */

#include "kernels.h"

#if defined(__SSE2__)
#include <emmintrin.h>
typedef __m128i Lane;
#define LOAD(from) _mm_loadu_si128((const __m128i *)(from))
#define STORE(to, lane) _mm_storeu_si128((__m128i *)(to), lane)
#define ZIP_LOW _mm_unpacklo_epi8
#define ZIP_HIGH _mm_unpackhi_epi8
#elif defined(__aarch64__)
#include <arm_neon.h>
typedef uint8x16_t Lane;
#define LOAD vld1q_u8
#define STORE vst1q_u8
#define ZIP_LOW vzip1q_u8
#define ZIP_HIGH vzip2q_u8
#endif

enum { LANE = 16 }; /* elements that are put together at once */

#define ALWAYS_INLINE static inline __attribute__((always_inline))

#ifdef LOAD
/* A shuffle of cards: the first half of the lanes and the second one, byte by byte in turns; as often as `until` can be halved. */
ALWAYS_INLINE void shuffle(Lane *lanes, const int item, const int until) {
    Lane next[MAX_ROWS];
    for (int done = 1; done < until; done *= 2) {
        for (int i = 0; i < item / 2; i++) {
            next[2 * i] = ZIP_LOW(lanes[i], lanes[i + item / 2]);
            next[2 * i + 1] = ZIP_HIGH(lanes[i], lanes[i + item / 2]);
        }
        for (int row = 0; row < item; row++) lanes[row] = next[row];
    }
}

/* After as many as the rows can be halved, the bytes of each element are neighbours. */
ALWAYS_INLINE void weave_lane(const uint8_t *const *rows, const int item, Py_ssize_t first, uint8_t *to) {
    Lane lanes[MAX_ROWS];
    for (int row = 0; row < item; row++) lanes[row] = LOAD(rows[row] + first);
    shuffle(lanes, item, item);
    for (int row = 0; row < item; row++) STORE(to + row * LANE, lanes[row]);
}
#endif

/* Elements from the one numbered `first` on, `step` apart in the rows and `stride` bytes in the memory they go to. */
ALWAYS_INLINE void weave(const uint8_t *const *rows, const int item, Py_ssize_t first, Py_ssize_t step, Py_ssize_t count,
                         uint8_t *to, Py_ssize_t stride) {
#ifdef LOAD
    if (step == 1 && stride == item && count >= LANE) {
        for (Py_ssize_t done = 0; done + LANE <= count; done += LANE)
            weave_lane(rows, item, first + done, to + done * item);
        if (count % LANE) weave_lane(rows, item, first + count - LANE, to + (count - LANE) * item);
        return;
    }
#endif
    for (Py_ssize_t i = 0; i < count; i++, first += step, to += stride)
        for (int row = 0; row < item; row++) to[row] = rows[row][first];
}

#ifdef LOAD
/* After as many as a lane can be halved, the first bytes of all elements are. */
ALWAYS_INLINE void spread_lane(uint8_t *const *rows, const int item, Py_ssize_t first, const uint8_t *from) {
    Lane lanes[MAX_ROWS];
    for (int row = 0; row < item; row++) lanes[row] = LOAD(from + row * LANE);
    shuffle(lanes, item, LANE);
    for (int row = 0; row < item; row++) STORE(rows[row] + first, lanes[row]);
}
#endif

/* What `weave` does, the other way. */
ALWAYS_INLINE void spread(uint8_t *const *rows, const int item, Py_ssize_t first, Py_ssize_t step, Py_ssize_t count,
                          const uint8_t *from, Py_ssize_t stride) {
#ifdef LOAD
    if (step == 1 && stride == item && count >= LANE) {
        for (Py_ssize_t done = 0; done + LANE <= count; done += LANE)
            spread_lane(rows, item, first + done, from + done * item);
        if (count % LANE) spread_lane(rows, item, first + count - LANE, from + (count - LANE) * item);
        return;
    }
#endif
    for (Py_ssize_t i = 0; i < count; i++, first += step, from += stride)
        for (int row = 0; row < item; row++) rows[row][first] = from[row];
}

bool has_rows(Py_ssize_t item) {
    return item == 2 || item == 4 || item == 8 || item == MAX_ROWS;
}

void take_line(const Part *part, Py_ssize_t item, Py_ssize_t word, Py_ssize_t at, Py_ssize_t step, Py_ssize_t count, char *to,
               Py_ssize_t stride) {
    at -= part->start;
    if (part->bytes != NULL) {
        copy_line(count, item, word, to, stride, part->bytes + at, step);
        return;
    }
    switch (item) { /* constants make them straight lines of instructions */
    case 2: weave(part->rows, 2, at / 2, step / 2, count, (uint8_t *)to, stride); break;
    case 4: weave(part->rows, 4, at / 4, step / 4, count, (uint8_t *)to, stride); break;
    case 8: weave(part->rows, 8, at / 8, step / 8, count, (uint8_t *)to, stride); break;
    default: weave(part->rows, MAX_ROWS, at / MAX_ROWS, step / MAX_ROWS, count, (uint8_t *)to, stride); break;
    }
}

void put_line(uint8_t *const *rows, Py_ssize_t item, Py_ssize_t first, Py_ssize_t step, Py_ssize_t count, const char *from,
              Py_ssize_t stride) {
    const uint8_t *elements = (const uint8_t *)from;
    switch (item) {
    case 2: spread(rows, 2, first, step, count, elements, stride); break;
    case 4: spread(rows, 4, first, step, count, elements, stride); break;
    case 8: spread(rows, 8, first, step, count, elements, stride); break;
    default: spread(rows, MAX_ROWS, first, step, count, elements, stride); break;
    }
}
