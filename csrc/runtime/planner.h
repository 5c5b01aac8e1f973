// The door from C++ to the planner: a new signature goes to Python once and comes back as a plan.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "plan.h"

namespace openxpu {

struct TensorMeta {
  int slot = 0;  // index in the replay's tensor pointers
  DType dtype = DType::kF32;
  bool is_output = false;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements
};

struct Absent {};  // an optional tensor that was not given, an output that is not wanted

// An attribute whose value is no part of the signature: the call's k-th dynamic scalar.
struct DynamicScalar {
  int index = 0;
  Scalar::Kind kind = Scalar::kFloat;
};

// Python sees: TensorMeta object, None, list of (TensorMeta or None), bool, int, float, str, list
// of int, list of float, str (dtype name), DynamicScalar object.
using Argument = std::variant<Absent, TensorMeta, std::vector<std::variant<Absent, TensorMeta>>,
                              bool, int64_t, double, std::string, std::vector<int64_t>,
                              std::vector<double>, DType, DynamicScalar>;

struct Request {
  std::string kernel;
  std::vector<Argument> arguments;  // in the order of the kernel's signature, outputs last
};

// The planner cannot make a plan. `type` is the Python exception's class name, such as
// "Unsupported".
class PlanError : public Error {
 public:
  PlanError(std::string type, const std::string& sentence)
      : Error(sentence), type(std::move(type)) {}
  std::string type;
};

using Planner = std::function<std::shared_ptr<const Plan>(const Request&)>;
// Indices (in Request::arguments) of the attributes that are dynamic for a kernel.
using DynamicLookup = std::function<std::vector<int>(const std::string& kernel)>;

void set_planner(Planner planner);
void set_dynamic_lookup(DynamicLookup lookup);
bool has_planner();

// Calls the planner (Python: takes the interpreter lock). Throws PlanError.
std::shared_ptr<const Plan> make_plan(const Request& request);
std::vector<int> dynamic_arguments(const std::string& kernel);

}  // namespace openxpu
