// Signatures of phi kernels that Paddle's headers in the wheel declare not at all, or beside
// includes that the wheel lacks.
#pragma once
#include <string>
#include <vector>

#include "paddle/phi/common/scalar.h"
#include "paddle/phi/core/dense_tensor.h"
#include "paddle/utils/optional.h"

namespace phi {

template <typename T, typename Context>
void AnchorGeneratorOpKernel(const Context& dev_ctx, const DenseTensor& input,
                             const std::vector<float>& anchor_sizes,
                             const std::vector<float>& aspect_ratios,
                             const std::vector<float>& variances, const std::vector<float>& stride,
                             float offset, DenseTensor* anchors, DenseTensor* variances_out);

template <typename T, typename Context>
void BipartiteMatchKernel(const Context& dev_ctx, const DenseTensor& distances,
                          const std::string& match_type, float threshold, DenseTensor* match,
                          DenseTensor* value);

template <typename T, typename Context>
void CollectFpnProposalsOpKernel(const Context& dev_ctx,
                                 const std::vector<const DenseTensor*>& rois,
                                 const std::vector<const DenseTensor*>& scores,
                                 const paddle::optional<std::vector<const DenseTensor*>>& rois_num,
                                 int post_nms_topn, DenseTensor* fpn_rois,
                                 DenseTensor* rois_num_out);

template <typename T, typename Context>
void SequenceMaskScalarKernel(const Context& dev_ctx, const DenseTensor& x, const Scalar& max_len,
                              DataType out_dtype, DenseTensor* y);

}  // namespace phi
