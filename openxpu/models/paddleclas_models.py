# Models of PaddleClas: its constructors, by the size of pictures that the architecture is whole with.
"""Transformers have position tables for one size; the others take any, and get small ones.

Left out is what PaddleClas 2.6.0 cannot run on a CPU: its Swin Transformer V2 uses a name that it does not define, SOLIDER asks for CUDA,
and five constructors (HRNet_W60_C, SE_HRNet_W64_C, MobileViTV2_x0_75, x1_25, x1_75) look for an address that it does not have."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import re
from typing import Any

from openxpu.models.classification import CLASSES, FAINT, image_data
from openxpu.models.registry import Data, Model

CONSTRUCTORS = {
    64: """
        MobileNetV1_x0_25 MobileNetV1_x0_5 MobileNetV1_x0_75 MobileNetV1 MobileNetV3_small_x0_35
        MobileNetV3_small_x0_5 MobileNetV3_small_x0_75 MobileNetV3_small_x1_0 MobileNetV3_small_x1_25
        MobileNetV3_large_x0_35 MobileNetV3_large_x0_5 MobileNetV3_large_x0_75 MobileNetV3_large_x1_0
        MobileNetV3_large_x1_25 MobileNetV4_conv_small MobileNetV4_conv_medium MobileNetV4_conv_large FasterNet_T0
        FasterNet_T1 FasterNet_T2 FasterNet_S FasterNet_M FasterNet_L StarNet_S1 StarNet_S2 StarNet_S3 StarNet_S4
        ResNet18 ResNet18_vd ResNet34 ResNet34_vd ResNet50 ResNet50_vd ResNet101 ResNet101_vd ResNet152 ResNet152_vd
        ResNet200_vd HRNet_W18_C HRNet_W30_C HRNet_W32_C HRNet_W40_C HRNet_W44_C HRNet_W48_C HRNet_W64_C PPLCNet_x0_25
        PPLCNet_x0_35 PPLCNet_x0_5 PPLCNet_x0_75 PPLCNet_x1_0 PPLCNet_x1_5 PPLCNet_x2_0 PPLCNet_x2_5 PPLCNetV2_small
        PPLCNetV2_base PPLCNetV2_large ESNet_x0_25 ESNet_x0_5 ESNet_x0_75 ESNet_x1_0 PPHGNet_tiny PPHGNet_small
        PPHGNet_base PPHGNetV2_B0 PPHGNetV2_B1 PPHGNetV2_B2 PPHGNetV2_B3 PPHGNetV2_B4 PPHGNetV2_B5 PPHGNetV2_B6
        ResNet50_vc ResNeXt50_32x4d ResNeXt50_64x4d ResNeXt101_32x4d ResNeXt101_64x4d ResNeXt152_32x4d
        ResNeXt152_64x4d ResNeXt50_vd_32x4d ResNeXt50_vd_64x4d ResNeXt101_vd_32x4d ResNeXt101_vd_64x4d
        ResNeXt152_vd_32x4d ResNeXt152_vd_64x4d Res2Net50_26w_4s Res2Net50_14w_8s Res2Net50_vd_26w_4s
        Res2Net101_vd_26w_4s Res2Net200_vd_26w_4s SE_ResNet18_vd SE_ResNet34_vd SE_ResNet50_vd SE_ResNeXt50_vd_32x4d
        SENet154_vd SE_ResNeXt50_32x4d SE_ResNeXt101_32x4d SE_ResNeXt152_64x4d DPN68 DPN92 DPN98 DPN107 DPN131
        DenseNet121 DenseNet161 DenseNet169 DenseNet201 DenseNet264 EfficientNetB0 EfficientNetB1 EfficientNetB2
        EfficientNetB3 EfficientNetB4 EfficientNetB5 EfficientNetB6 EfficientNetB7 EfficientNetB0_small
        EfficientNetV2_S ResNeSt50_fast_1s1x64d ResNeSt50 ResNeSt101 ResNeSt200 ResNeSt269 MobileNetV2_x0_25
        MobileNetV2_x0_5 MobileNetV2_x0_75 MobileNetV2 MobileNetV2_x1_5 MobileNetV2_x2_0 ShuffleNetV2_x0_25
        ShuffleNetV2_x0_33 ShuffleNetV2_x0_5 ShuffleNetV2_x1_0 ShuffleNetV2_x1_5 ShuffleNetV2_x2_0 ShuffleNetV2_swish
        GhostNet_x0_5 GhostNet_x1_0 GhostNet_x1_3 ResNeXt101_32x8d_wsl ResNeXt101_32x16d_wsl ResNeXt101_32x32d_wsl
        ResNeXt101_32x48d_wsl SqueezeNet1_0 SqueezeNet1_1 DarkNet53 RegNetX_200MF RegNetX_400MF RegNetX_600MF
        RegNetX_800MF RegNetX_1600MF RegNetX_3200MF RegNetX_4GF RegNetX_6400MF RegNetX_8GF RegNetX_12GF RegNetX_16GF
        RegNetX_32GF ReXNet_1_0 ReXNet_1_3 ReXNet_1_5 ReXNet_2_0 ReXNet_3_0 DLA34 DLA46_c DLA46x_c DLA60 DLA60x
        DLA60x_c DLA102 DLA102x DLA102x2 DLA169 HarDNet68 HarDNet85 HarDNet39_ds HarDNet68_ds CSPDarkNet53 RepVGG_A0
        RepVGG_A1 RepVGG_A2 RepVGG_B0 RepVGG_B1 RepVGG_B2 RepVGG_B1g2 RepVGG_B1g4 RepVGG_B2g4 RepVGG_B3 RepVGG_B3g4
        RepVGG_D2se PeleeNet MicroNet_M0 MicroNet_M1 MicroNet_M2 MicroNet_M3 MobileNeXt_x0_35 MobileNeXt_x0_5
        MobileNeXt_x0_75 MobileNeXt_x1_0 MobileNeXt_x1_4 TinyNet_A TinyNet_B TinyNet_C TinyNet_D TinyNet_E
        ResNet50_last_stage_stride1 ResNet50_adaptive_max_pool2d ResNet50_metabin PPLCNet_x2_5_Tanh
        PPLCNetV2_base_ShiTu EfficientNetB3_watermark
    """,
    112: """
        AdaFace_IR_18 AdaFace_IR_34 AdaFace_IR_50 AdaFace_IR_101 AdaFace_IR_152 AdaFace_IR_SE_50 AdaFace_IR_SE_101
        AdaFace_IR_SE_152 AdaFace_IR_SE_200 MobileFaceNet
    """,
    128: """
        InceptionV3 InceptionV4 Xception41 Xception65 Xception71 Xception41_deeplab Xception65_deeplab
    """,
    224: """
        GoogLeNet AlexNet VGG11 VGG13 VGG16 VGG19 VGG19Sigmoid MixNet_S MixNet_M MixNet_L MobileNetV4_hybrid_medium
        MobileNetV4_hybrid_large DSNet_tiny DSNet_small DSNet_base ViT_small_patch16_224 ViT_base_patch16_224
        ViT_large_patch16_224 DeiT_tiny_patch16_224 DeiT_small_patch16_224 DeiT_base_patch16_224
        DeiT_tiny_distilled_patch16_224 DeiT_small_distilled_patch16_224 DeiT_base_distilled_patch16_224
        SwinTransformer_tiny_patch4_window7_224 SwinTransformer_small_patch4_window7_224
        SwinTransformer_base_patch4_window7_224 SwinTransformer_large_patch4_window7_224 CSWinTransformer_tiny_224
        CSWinTransformer_small_224 CSWinTransformer_base_224 CSWinTransformer_large_224 pcpvt_small pcpvt_base
        pcpvt_large alt_gvt_small alt_gvt_base alt_gvt_large LeViT_128S LeViT_128 LeViT_192 LeViT_256 LeViT_384
        RedNet26 RedNet38 RedNet50 RedNet101 RedNet152 TNT_small TNT_base PVT_V2_B0 PVT_V2_B1 PVT_V2_B2_Linear
        PVT_V2_B2 PVT_V2_B3 PVT_V2_B4 PVT_V2_B5 MobileViT_XXS MobileViT_XS MobileViT_S VAN_B0 VAN_B1 VAN_B2 VAN_B3
        CLIP_vit_base_patch32_224 CLIP_vit_base_patch16_224 CLIP_vit_large_patch14_224 BEiTv2_vit_base_patch16_224
        BEiTv2_vit_large_patch16_224 CAE_vit_base_patch16_224 EVA_vit_giant_patch14 MOCOV3_vit_small MOCOV3_vit_base
        MAE_vit_huge_patch14 MAE_vit_large_patch16 MAE_vit_base_patch16 ConvNeXt_tiny ConvNeXt_small ConvNeXt_base_224
        ConvNeXt_large_224 NextViT_small_224 NextViT_base_224 NextViT_large_224 cae_base_patch16_224
        cae_large_patch16_224 CvT_13_224 CvT_21_224 MobileViTV3_XXS MobileViTV3_XS MobileViTV3_S MobileViTV3_XXS_L2
        MobileViTV3_XS_L2 MobileViTV3_S_L2 CLIP_large_patch14_224_aesthetic UniFormer_small UniFormer_small_plus
        UniFormer_small_plus_dim64 UniFormer_base UniFormer_base_ls
    """,
    256: """
        MobileViTV2_x0_5 MobileViTV2_x1_0 MobileViTV2_x1_5 MobileViTV2_x2_0 MobileViTV3_x0_5 MobileViTV3_x0_75
        MobileViTV3_x1_0
    """,
    336: """
        CLIP_vit_large_patch14_336
    """,
    384: """
        ViT_base_patch16_384 ViT_base_patch32_384 ViT_large_patch16_384 ViT_large_patch32_384 DeiT_base_patch16_384
        DeiT_base_distilled_patch16_384 SwinTransformer_base_patch4_window12_384
        SwinTransformer_large_patch4_window12_384 CSWinTransformer_base_384 CSWinTransformer_large_384
        ConvNeXt_base_384 ConvNeXt_large_384 NextViT_small_384 NextViT_base_384 NextViT_large_384 CvT_13_384
        CvT_21_384 CvT_W24_384
    """,
}
# Their programs keep the size of pictures: they reshape or pool by numbers that they take from the picture.
ONE_SIZE = ("ShuffleNet", "RepVGG_D2se", "PeleeNet")
# Paddle's fold takes no free batch in a program.
FOLDS = ("MobileViTV2", "MobileViTV3_x")
# More than forty billion multiply-adds for a picture, with position tables for its size: they get half as many pictures.
HEAVY = re.compile(
    r"(ViT|BEiTv2_vit|MAE_vit|CAE_vit|cae|CLIP|CLIP_vit)_large_.*|(ViT|DeiT)_base_.*patch16_384|(CSWin|Swin)Transformer_.*_384|CvT_W24_384"
    r"|ConvNeXt_.*_384|EVA_vit_giant_patch14|MAE_vit_huge_patch14"
)
# Among the models that the makers of XPUs publish as validated.
LISTED = {"ResNet50", "ResNet101", "MobileNetV3_small_x1_0", "MobileNetV3_large_x1_0", "VGG16", "VGG19", "PPLCNet_x1_0", "HRNet_W18_C",
          "ResNet50_vd", "PPHGNet_small", "PPHGNetV2_B4", "SwinTransformer_tiny_patch4_window7_224", "DenseNet121", "InceptionV4",
          "Xception41", "EfficientNetB0", "GoogLeNet", "SqueezeNet1_0", "DarkNet53", "SE_ResNeXt50_32x4d", "DPN68"}  # fmt: skip


# Arguments that a constructor does not do without; those of CAE are of its published fine-tuning.
_CAE = {
    "pretrained": False, "enable_linear_eval": False, "model_key": "model", "model_ema": {}, "use_mean_pooling": True,
    "use_rel_pos_bias": True, "use_abs_pos_emb": False, "sin_pos_emb": True, "init_values": 0.1,
}  # fmt: skip
_UNIFORMER = ("small", "small_plus", "small_plus_dim64", "base", "base_ls")
ARGUMENTS: dict[str, dict[str, Any]] = {
    **{f"cae_{size}_patch16_224": _CAE for size in ("base", "large")},
    **{f"UniFormer_{size}": {"pretrained": False} for size in _UNIFORMER},
}


def build(name: str) -> Any:
    """The constructor of this name with random weights. Some name their parameters, which Paddle allows once in a space of names."""
    import paddle

    backbone = importlib.import_module("paddleclas.ppcls.arch.backbone")
    with paddle.utils.unique_name.guard():
        model = getattr(backbone, name)(**ARGUMENTS.get(name, {}))
    if name.startswith("EfficientNetV2"):
        model.mconfig.survival_prob = (
            None  # drops no blocks: certification compares devices, whose random numbers differ
        )
    return model


def _data(name: str, size: int) -> Data:
    if size == 112:
        return _faces(size, 128 if name == "MobileFaceNet" else 512)
    other = size + 32 if size == 64 and not name.startswith(ONE_SIZE) else None
    classes = 2 if name.endswith("watermark") else CLASSES
    data = image_data(size, other=other, classes=classes, contrast=FAINT if name == "GoogLeNet" else 1.0)
    if name.startswith(FOLDS):
        return dataclasses.replace(data, dynamic={"image": ()})
    if HEAVY.fullmatch(name):
        return dataclasses.replace(data, make=lambda batch, seed: data.make(-(-batch // 2), seed))
    return data


def _faces(size: int, numbers: int) -> Data:
    """Two pictures for a sample, as classes of the numbers of an embedding: the last layer normalises it over the batch, and of two
    samples nothing but signs would be left."""
    data = image_data(size, classes=numbers)
    return dataclasses.replace(data, make=lambda batch, seed: data.make(2 * batch, seed))


def models() -> list[Model]:
    return [
        Model(
            f"paddleclas/{name}",
            "classification",
            "PaddleClas",
            functools.partial(build, name),
            _data(name, size),
            requires="paddleclas",
            install="paddleclas==2.6.0",
            learning_rate=16e-3 if name == "AlexNet" else 1e-3,
            listed=name in LISTED,
        )
        for size, names in CONSTRUCTORS.items()
        for name in names.split()
    ]
