// Finds UCX and the adapter to it (ucx.cc), which only groups over several machines need.
#include "transport.h"

#include <dlfcn.h>

#include <cstdlib>
#include <mutex>

#include "error.h"

namespace openxpu {
namespace {

std::mutex mutex;
std::string& folder() {
  static auto& text = *new std::string;
  return text;
}

std::string own_folder() {
  Dl_info info{};
  if (!dladdr(reinterpret_cast<void*>(&set_transport_folder), &info) || !info.dli_fname) return "";
  const std::string path = info.dli_fname;
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

collectives::OpenTransport load() {
  // Failures are told in our own sentences; handlers of signals are the program's.
  setenv("UCX_LOG_LEVEL", "fatal", 0);
  setenv("UCX_HANDLE_ERRORS", "none", 0);
  std::string reason;
  bool found = false;
  for (const std::string& path :
       {folder().empty() ? "" : folder() + "/libucp.so.0", std::string("libucp.so.0")}) {
    if (path.empty() || found) continue;
    found = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) != nullptr;
    if (!found) reason = dlerror();
  }
  if (!found)
    throw Error(
        "A group of cards over several machines needs UCX, which was not found; install it with "
        "pip install \"openxpu[machines]\" (or on Debian: apt install libucx0). (" +
        reason + ")");
  void* adapter = dlopen((own_folder() + "libopenxpu_ucx.so").c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!adapter)
    throw Error(std::string("OpenXPU was built without its part for groups over several machines; "
                            "build it where UCX's headers are (pip install libucx-cu12, or on "
                            "Debian: apt install libucx-dev). (") +
                dlerror() + ")");
  void* entry = dlsym(adapter, "openxpu_open_ucx");
  if (!entry) throw Error(std::string("libopenxpu_ucx.so is of another version: ") + dlerror());
  return reinterpret_cast<collectives::OpenTransport>(entry);
}

}  // namespace

void set_transport_folder(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex);
  folder() = path;
}

namespace collectives {

std::unique_ptr<Transport> open_transport(const std::string& interface) {
  std::lock_guard<std::mutex> lock(mutex);
  static const OpenTransport open = load();
  char error[512] = {};
  Transport* made = open(interface.c_str(), error, sizeof error);
  if (!made) throw Error(std::string("UCX could not be started: ") + error + ".");
  return std::unique_ptr<Transport>(made);
}

}  // namespace collectives
}  // namespace openxpu
