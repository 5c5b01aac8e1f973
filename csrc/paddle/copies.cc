// Paddle's copies from and to cards, without the thread that Paddle starts and ends for each of
// them: its wrapper of a stream owns one.
#include "copies.h"

#include "device.h"
#include "errors.h"
#include "linkage.h"
#include "paddle/phi/common/place.h"

namespace openxpu::paddle_plugin {
namespace {

template <typename To, typename From>
using Copy = void (*)(To, void*, From, const void*, size_t, void*);

Copy<phi::CPUPlace, phi::CustomPlace> original_to_host;
Copy<phi::CustomPlace, phi::CPUPlace> original_from_host;
Copy<phi::CustomPlace, phi::CustomPlace> original_between;

bool ours(const phi::CustomPlace& place) { return place.GetDeviceType() == "xpu"; }

void copied(const phi::CustomPlace& place, void* dst, const void* src, size_t bytes,
            openxpu_copy_kind kind, void* stream) {
  try {
    copy_for_paddle(place.GetDeviceId(), dst, src, bytes, kind, stream);
  } catch (...) {
    rethrow_for_paddle();
  }
}

void to_host(phi::CPUPlace to, void* dst, phi::CustomPlace from, const void* src, size_t bytes,
             void* stream) {
  if (bytes == 0 || !ours(from)) return original_to_host(to, dst, from, src, bytes, stream);
  copied(from, dst, src, bytes, OPENXPU_CARD_TO_HOST, stream);
}

void from_host(phi::CustomPlace to, void* dst, phi::CPUPlace from, const void* src, size_t bytes,
               void* stream) {
  if (bytes == 0 || !ours(to)) return original_from_host(to, dst, from, src, bytes, stream);
  copied(to, dst, src, bytes, OPENXPU_HOST_TO_CARD, stream);
}

void between(phi::CustomPlace to, void* dst, phi::CustomPlace from, const void* src, size_t bytes,
             void* stream) {
  if (bytes == 0 || !ours(to) || to != from)
    return original_between(to, dst, from, src, bytes, stream);
  copied(to, dst, src, bytes, OPENXPU_CARD_TO_CARD, stream);
}

}  // namespace

bool install_copy_hooks() {
  return install_hooks({
      {"_ZN6paddle6memory4CopyIN3phi8CPUPlaceENS2_11CustomPlaceEEEvT_PvT0_PKvmS6_",
       "libphi_core.so", reinterpret_cast<void*>(&to_host),
       reinterpret_cast<void**>(&original_to_host)},
      {"_ZN6paddle6memory4CopyIN3phi11CustomPlaceENS2_8CPUPlaceEEEvT_PvT0_PKvmS6_",
       "libphi_core.so", reinterpret_cast<void*>(&from_host),
       reinterpret_cast<void**>(&original_from_host)},
      {"_ZN6paddle6memory4CopyIN3phi11CustomPlaceES3_EEvT_PvT0_PKvmS5_", "libphi_core.so",
       reinterpret_cast<void*>(&between), reinterpret_cast<void**>(&original_between)},
  });
}

}  // namespace openxpu::paddle_plugin
