/* Bytes from a runtime: the stream decoder, fed in pieces whose size is the first byte.
 */
#include "core/buf.h"
#include "funcmgr/process/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fm_frame_in in = { .max = 4096 };
    struct fm_frame frame;
    size_t step = size > 0 ? (size_t)data[0] + 1 : 1;
    int r = FM_FRAME_MORE;

    for (size_t at = 1; at < size && r == FM_FRAME_MORE; at += step) {
        if (fm_frame_in_feed(&in, data + at, BT_MIN(step, size - at)) != 0)
            break;
        while ((r = fm_frame_in_next(&in, &frame)) == 0) {
            struct bt_buf out = { 0 };

            /* What was understood can be said again. */
            if (fm_frame_encode(&frame, 1 << 20, &out, NULL) != 0)
                __builtin_trap();
            bt_buf_deinit(&out);
        }
    }
    fm_frame_in_deinit(&in);
    return 0;
}
