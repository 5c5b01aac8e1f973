// The protocol of rendezvous.h: rank 0 listens, hears every rank's entry and sends all of them to
// each.
#include "rendezvous.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

#include "control.h"
#include "host/gate.h"

namespace openxpu::collectives {
namespace {

constexpr uint32_t kMagic = 0x4f585031;  // "OXP1": the protocol's version
constexpr uint32_t kMaxFrame = 1 << 24;

std::mutex mutex;
std::map<uint64_t, int>& listeners() {  // by the token of the id
  static auto& map = *new std::map<uint64_t, int>;
  return map;
}

struct Socket {
  int fd = -1;
  Socket() = default;
  explicit Socket(int number) : fd(number) {}
  Socket(Socket&& other) noexcept : fd(other.release()) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd, other.fd);
    return *this;
  }
  ~Socket() {
    if (fd >= 0) ::close(fd);
  }
  int release() {
    const int number = fd;
    fd = -1;
    return number;
  }
};

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;
Addresses resolved(const std::string& host, uint16_t port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  const int code = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (code != 0)
    throw Error("The address \"" + host + "\" of a group of cards is not known here (" +
                gai_strerror(code) + ").");
  return {found, freeaddrinfo};
}

std::string host_of(const sockaddr_storage& address, socklen_t length) {
  char text[NI_MAXHOST] = {};
  if (getnameinfo(reinterpret_cast<const sockaddr*>(&address), length, text, sizeof text, nullptr,
                  0, NI_NUMERICHOST) != 0)
    return "?";
  return text;
}

// Waits until the socket is ready; false: the time is over.
bool ready(int socket, short events, uint64_t end) {
  const uint64_t now = host::now_ns();
  pollfd p{socket, events, 0};
  const auto left = now >= end ? 0 : static_cast<int>((end - now) / 1'000'000 + 1);
  return poll(&p, 1, left) > 0;
}

bool write_all(int socket, const char* data, size_t size, uint64_t end) {
  while (size) {
    const ssize_t done = ::send(socket, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (done > 0) {
      data += done;
      size -= static_cast<size_t>(done);
    } else if ((errno != EAGAIN && errno != EINTR) || !ready(socket, POLLOUT, end)) {
      return false;
    }
  }
  return true;
}

bool read_all(int socket, char* data, size_t size, uint64_t end) {
  while (size) {
    const ssize_t done = recv(socket, data, size, MSG_DONTWAIT);
    if (done > 0) {
      data += done;
      size -= static_cast<size_t>(done);
    } else if (done == 0 || (errno != EAGAIN && errno != EINTR) || !ready(socket, POLLIN, end)) {
      return false;
    }
  }
  return true;
}

// ---- frames: a length, then numbers and texts ----

struct Writer {
  std::string bytes;
  void number(uint64_t x) { bytes.append(reinterpret_cast<const char*>(&x), sizeof x); }
  void text(const std::string& x) {
    number(x.size());
    bytes += x;
  }
  void entry(const Entry& e) {
    text(e.machine);
    text(e.host);
    text(e.transport);
    text(std::string(reinterpret_cast<const char*>(&e.local), sizeof e.local));
  }
};

struct Reader {
  const std::string& bytes;
  size_t at = 0;
  bool bad = false;
  uint64_t number() {
    uint64_t x = 0;
    if (bytes.size() - at < sizeof x) {
      bad = true;
      return 0;
    }
    std::memcpy(&x, bytes.data() + at, sizeof x);
    at += sizeof x;
    return x;
  }
  std::string text() {
    const uint64_t size = number();
    if (bad || bytes.size() - at < size) {
      bad = true;
      return "";
    }
    at += size;
    return bytes.substr(at - size, size);
  }
  Entry entry() {
    Entry e;
    e.machine = text();
    e.host = text();
    e.transport = text();
    const std::string id = text();
    if (id.size() == sizeof e.local)
      std::memcpy(&e.local, id.data(), sizeof e.local);
    else
      bad = true;
    return e;
  }
};

bool write_frame(int socket, const Writer& w, uint64_t end) {
  const auto size = static_cast<uint32_t>(w.bytes.size());
  return write_all(socket, reinterpret_cast<const char*>(&size), sizeof size, end) &&
         write_all(socket, w.bytes.data(), size, end);
}

bool read_frame(int socket, std::string& bytes, uint64_t end) {
  uint32_t size = 0;
  if (!read_all(socket, reinterpret_cast<char*>(&size), sizeof size, end) || size > kMaxFrame)
    return false;
  bytes.resize(size);
  return read_all(socket, bytes.data(), size, end);
}

void set_up(int socket) {
  const int yes = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

// ---- rank 0 ----

Joined gather(const UniqueId& id, int ranks, const Entry& mine, int64_t limit_ns,
              const std::string& name) {
  Socket listener;
  {
    std::lock_guard<std::mutex> lock(mutex);
    const auto found = listeners().find(id.token);
    if (found == listeners().end())
      throw Error("Rank 0 of communicator " + name +
                  " has to make the unique id itself, once for each communicator: the other "
                  "machines' ranks connect to the process that made it.");
    listener.fd = found->second;
    listeners().erase(found);
  }
  const uint64_t end = host::now_ns() + static_cast<uint64_t>(limit_ns);
  Joined joined;
  joined.entries.resize(static_cast<size_t>(ranks));
  joined.entries[0] = mine;
  joined.entries[0].host = id.address;
  std::vector<Socket> sockets(static_cast<size_t>(ranks));
  std::string wrong;
  for (int missing = ranks - 1; missing > 0 && wrong.empty();) {
    if (!ready(listener.fd, POLLIN, end)) {
      std::string who;
      for (int r = 1; r < ranks; r++)
        if (sockets[static_cast<size_t>(r)].fd < 0)
          who += (who.empty() ? "" : ", ") + std::to_string(r);
      wrong = "Communicator " + name + " of " + std::to_string(ranks) + " ranks waited " +
              seconds(limit_ns) + " at " + id.address + " for rank " + who +
              " to join (OPENXPU_COLLECTIVE_TIMEOUT sets the limit).";
      break;
    }
    sockaddr_storage from{};
    socklen_t length = sizeof from;
    Socket socket(accept4(listener.fd, reinterpret_cast<sockaddr*>(&from), &length, SOCK_CLOEXEC));
    if (socket.fd < 0) continue;
    std::string bytes;
    // Whoever connects without knowing the token gets no answer.
    if (!read_frame(socket.fd, bytes, std::min(end, host::now_ns() + 5'000'000'000))) continue;
    Reader r{bytes};
    const uint64_t magic = r.number(), token = r.number(), whole = r.number(), rank = r.number();
    Entry entry = r.entry();
    if (token != id.token) continue;
    if (magic != kMagic || r.bad)
      wrong = "The ranks of communicator " + name + " run different versions of OpenXPU.";
    else if (whole != static_cast<uint64_t>(ranks))
      wrong = "Rank " + std::to_string(rank) + " joins communicator " + name + " as one of " +
              std::to_string(whole) + " ranks, rank 0 as one of " + std::to_string(ranks) + ".";
    else if (rank == 0 || rank >= whole || sockets[rank].fd >= 0)
      wrong = "Communicator " + name + " has a rank " + std::to_string(rank) + " already.";
    else
      missing--;
    entry.host = host_of(from, length);
    set_up(socket.fd);
    if (wrong.empty()) {
      joined.entries[rank] = std::move(entry);
      sockets[rank] = std::move(socket);
    } else {
      sockets.push_back(std::move(socket));
    }
  }
  Writer answer;
  answer.text(wrong);
  if (wrong.empty())
    for (const Entry& e : joined.entries) answer.entry(e);
  const uint64_t soon = host::now_ns() + 5'000'000'000;
  for (const Socket& s : sockets)
    if (s.fd >= 0) write_frame(s.fd, answer, soon);
  if (!wrong.empty()) throw Error(wrong);
  for (Socket& s : sockets) joined.sockets.push_back(s.release());
  return joined;
}

// ---- the others ----

Socket connect_to(const UniqueId& id, uint64_t end, std::string& reason) {
  const Addresses all = resolved(id.address, id.port);
  for (;;) {
    for (const addrinfo* a = all.get(); a; a = a->ai_next) {
      Socket socket(::socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      if (socket.fd < 0) continue;
      int error = 0;
      socklen_t length = sizeof error;
      if (::connect(socket.fd, a->ai_addr, a->ai_addrlen) != 0) error = errno;
      if (error == EINPROGRESS) {
        if (!ready(socket.fd, POLLOUT, end))
          error = ETIMEDOUT;
        else
          getsockopt(socket.fd, SOL_SOCKET, SO_ERROR, &error, &length);
      }
      if (error == 0) return socket;
      reason = std::strerror(error);
    }
    if (host::now_ns() >= end) return Socket();
    usleep(50'000);
  }
}

Joined present(const UniqueId& id, int ranks, int rank, const Entry& mine, int64_t limit_ns,
               const std::string& name) {
  const uint64_t end = host::now_ns() + static_cast<uint64_t>(limit_ns);
  const std::string who = "Rank " + std::to_string(rank) + " of " + std::to_string(ranks);
  const std::string where = std::string(id.address) + ", port " + std::to_string(id.port);
  std::string reason;
  Socket socket = connect_to(id, end, reason);
  if (socket.fd < 0)
    throw Error(who + " did not reach rank 0 of communicator " + name + " at " + where +
                " within " + seconds(limit_ns) + " (" + reason +
                "); rank 0 has to be alive, and the network between the machines has to let this "
                "port through (OPENXPU_ADDRESS chooses the address).");
  set_up(socket.fd);
  Writer hello;
  hello.number(kMagic);
  hello.number(id.token);
  hello.number(static_cast<uint64_t>(ranks));
  hello.number(static_cast<uint64_t>(rank));
  hello.entry(mine);
  std::string bytes;
  // Rank 0 names those that are missing: its answer comes a little later than the limit.
  const uint64_t patience = end + 3'000'000'000;
  if (!write_frame(socket.fd, hello, end) || !read_frame(socket.fd, bytes, patience))
    throw Error(who + " reached rank 0 of communicator " + name + " at " + where +
                " and then lost it, or waited " + seconds(limit_ns) +
                " for the other ranks to join (OPENXPU_COLLECTIVE_TIMEOUT sets the limit).");
  Reader r{bytes};
  const std::string wrong = r.text();
  if (!wrong.empty()) throw Error(wrong);
  Joined joined;
  for (int i = 0; i < ranks; i++) joined.entries.push_back(r.entry());
  if (r.bad)
    throw Error("The ranks of communicator " + name + " run different versions of OpenXPU.");
  joined.sockets.push_back(socket.release());
  return joined;
}

}  // namespace

void listen_at(const std::string& address, UniqueId& id) {
  if (address.size() >= sizeof id.address)
    throw Error("The address \"" + address + "\" of a group of cards is too long; give numbers.");
  const Addresses all = resolved(address, 0);
  Socket socket(::socket(all->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  if (socket.fd < 0 || bind(socket.fd, all->ai_addr, all->ai_addrlen) != 0 ||
      listen(socket.fd, SOMAXCONN) != 0 ||
      getsockname(socket.fd, reinterpret_cast<sockaddr*>(&bound), &length) != 0)
    throw Error("Could not listen at " + address + " for the ranks of a group (" +
                std::strerror(errno) + "); OPENXPU_ADDRESS has to be an address of this machine.");
  std::snprintf(id.address, sizeof id.address, "%s", address.c_str());
  id.port = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                              : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
  std::lock_guard<std::mutex> lock(mutex);
  listeners()[id.token] = socket.release();
}

std::string interface_to(const UniqueId& id) {
  // A datagram socket that is connected knows the address that it would send from.
  const Addresses all = resolved(id.address, id.port);
  Socket socket(::socket(all->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage own{};
  socklen_t length = sizeof own;
  if (socket.fd < 0 || ::connect(socket.fd, all->ai_addr, all->ai_addrlen) != 0 ||
      getsockname(socket.fd, reinterpret_cast<sockaddr*>(&own), &length) != 0)
    return "";
  const std::string host = host_of(own, length);
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return "";
  std::string found;
  for (const ifaddrs* i = list; i; i = i->ifa_next) {
    if (!i->ifa_addr || i->ifa_addr->sa_family != own.ss_family) continue;
    sockaddr_storage one{};
    std::memcpy(&one, i->ifa_addr, length);
    // Rank 0 reaches its own address by loopback, but the interface that has it is the one.
    if (host_of(one, length) == host) found = i->ifa_name;
  }
  freeifaddrs(list);
  return found;
}

Joined join(const UniqueId& id, int ranks, int rank, const Entry& mine, int64_t limit_ns,
            const std::string& name) {
  return rank == 0 ? gather(id, ranks, mine, limit_ns, name)
                   : present(id, ranks, rank, mine, limit_ns, name);
}

void tell(int socket, const Notice& notice) {
  if (socket < 0) return;
  const auto rank = static_cast<uint32_t>(notice.rank);
  const auto size = static_cast<uint32_t>(notice.text.size());
  std::string bytes(1, static_cast<char>(notice.what));
  bytes.append(reinterpret_cast<const char*>(&rank), sizeof rank);
  bytes.append(reinterpret_cast<const char*>(&size), sizeof size);
  write_all(socket, (bytes + notice.text).data(), bytes.size() + notice.text.size(), 0);
}

bool hear(int socket, std::string& pending, std::vector<Notice>& heard) {
  char bytes[4096];
  bool there = true;
  for (;;) {
    const ssize_t size = recv(socket, bytes, sizeof bytes, MSG_DONTWAIT);
    if (size > 0) {
      pending.append(bytes, static_cast<size_t>(size));
      continue;
    }
    if (size < 0 && errno == EINTR) continue;
    there = size < 0 && errno == EAGAIN;
    break;
  }
  constexpr size_t kHead = 9;
  while (pending.size() >= kHead) {
    uint32_t rank = 0, length = 0;
    std::memcpy(&rank, pending.data() + 1, sizeof rank);
    std::memcpy(&length, pending.data() + 5, sizeof length);
    if (pending.size() < kHead + length) break;
    heard.push_back({static_cast<NoticeKind>(pending[0]), static_cast<int>(rank),
                     pending.substr(kHead, length)});
    pending.erase(0, kHead + length);
  }
  return there;
}

}  // namespace openxpu::collectives
