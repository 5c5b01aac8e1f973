// The exception of the run time: one sentence that says what was asked, what was found, what to do.
#pragma once
#include <stdexcept>
#include <string>

namespace openxpu {

class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& sentence) : std::runtime_error(sentence) {}
};

// A card has no room for a request. The card stays usable: free something and ask again.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

// A device function, a launch or a copy failed on a stream; raised at the next synchronisation.
class LaunchError : public Error {
 public:
  using Error::Error;
};

}  // namespace openxpu
