// The table of registered kernels and the bounded cache of their plans.
#include "kernel_table.h"

#include <cstring>
#include <unordered_map>

namespace openxpu::paddle_plugin {
namespace {

struct Table {
  std::mutex mutex;
  std::unordered_map<std::string, std::unique_ptr<Kernel>> by_name;
  std::vector<Kernel*> in_order;
};

// Never destroyed: kernels may be called by threads that outlive main().
Table& table() {
  static Table* instance = new Table;
  return *instance;
}

bool same(const CachedPlan& entry, const uint64_t* words, size_t count, uint64_t hash) {
  return entry.hash == hash && entry.signature.size() == count &&
         std::memcmp(entry.signature.data(), words, count * sizeof(uint64_t)) == 0;
}

}  // namespace

std::shared_ptr<const CachedPlan> PlanCache::find(const uint64_t* words, size_t count,
                                                  uint64_t hash) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (latest_ && same(*latest_, words, count, hash)) return latest_;
  if (slots_.empty()) return nullptr;
  const size_t mask = slots_.size() - 1;
  for (size_t i = hash & mask; slots_[i]; i = (i + 1) & mask) {
    if (same(*slots_[i], words, count, hash)) {
      latest_ = slots_[i];
      return latest_;
    }
  }
  return nullptr;
}

void PlanCache::place(std::shared_ptr<const CachedPlan> entry) {
  const size_t mask = slots_.size() - 1;
  size_t i = entry->hash & mask;
  while (slots_[i]) i = (i + 1) & mask;
  slots_[i] = std::move(entry);
}

void PlanCache::insert(std::shared_ptr<const CachedPlan> entry) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (entries_ >= kMaxEntries) {
    slots_.clear();
    entries_ = 0;
  }
  if (slots_.size() < 2 * (entries_ + 1)) {
    std::vector<std::shared_ptr<const CachedPlan>> old(slots_.empty() ? 8 : 2 * slots_.size());
    old.swap(slots_);
    for (auto& e : old) {
      if (e) place(std::move(e));
    }
  }
  latest_ = entry;
  place(std::move(entry));
  ++entries_;
}

void PlanCache::clear() {
  std::lock_guard<std::mutex> lock(mutex_);
  latest_.reset();
  slots_.clear();
  entries_ = 0;
}

size_t PlanCache::size() {
  std::lock_guard<std::mutex> lock(mutex_);
  return entries_;
}

Kernel* add_kernel(const std::string& name, const std::string& group) {
  Table& t = table();
  std::lock_guard<std::mutex> lock(t.mutex);
  auto& entry = t.by_name[name];
  if (!entry) {
    entry = std::make_unique<Kernel>(name, group);
    t.in_order.push_back(entry.get());
  }
  return entry.get();
}

Kernel* find_kernel(const std::string& name) {
  Table& t = table();
  std::lock_guard<std::mutex> lock(t.mutex);
  auto found = t.by_name.find(name);
  return found == t.by_name.end() ? nullptr : found->second.get();
}

std::vector<Kernel*> all_kernels() {
  Table& t = table();
  std::lock_guard<std::mutex> lock(t.mutex);
  return t.in_order;
}

}  // namespace openxpu::paddle_plugin
