"""The manifest of weight files that others publish: where each comes from, and how it is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

BROWSER_ONLY: Final = ("drive.google.com", "sharepoint.com", "dropbox.com")


@dataclass(frozen=True)
class PublishedFile:
    """One file of a publisher.

    Attributes:
        name: what its publisher calls it.
        url: its origin.
        sha256: digest of the publisher's file, where it is known; a file of that name must then have it.
        size: in bytes, where it is known.
    """

    name: str
    url: str
    sha256: str | None = None
    size: int | None = None

    @property
    def by_hand(self) -> bool:
        """Whether its origin wants a browser.

        >>> PublishedFile("a.pkl", "https://drive.google.com/file/d/1/view").by_hand
        True
        """
        host = urlsplit(self.url).hostname or ""
        return any(host == known or host.endswith(f".{known}") for known in BROWSER_ONLY)


@dataclass(frozen=True)
class Published:
    """What one weight name stands for.

    Attributes:
        what: the network or the numbers.
        licence: as the publisher states it.
        files: the forms in which it is published, any of which will do; for a folder, all of its files.
        folder: whether it is a folder of files.
        note: what to do with a file that was fetched by hand.
    """

    what: str
    licence: str
    files: tuple[PublishedFile, ...]
    folder: bool = False
    note: str = ""

    @property
    def sha256(self) -> str | None:
        """Digest of the first form."""
        return self.files[0].sha256


def _drive(name: str, key: str, sha256: str | None = None, size: int | None = None) -> PublishedFile:
    return PublishedFile(name, f"https://drive.google.com/file/d/{key}/view", sha256, size)


def _genforce(name: str, key: str) -> PublishedFile:
    home = "https://mycuhk-my.sharepoint.com/:u:/g/personal/1155082926_link_cuhk_edu_hk"
    return PublishedFile(name, f"{home}/{key}&download=1")


def _below(folder: str, files: dict[str, tuple[str, int]]) -> tuple[PublishedFile, ...]:
    return tuple(PublishedFile(name, f"{folder}/{name}", *known) for name, known in files.items())


NVIDIA: Final = "https://nvlabs-fi-cdn.nvidia.com"
GITHUB: Final = "https://raw.githubusercontent.com"
NON_COMMERCIAL: Final = "Nvidia Source Code License-NC"
NETWORKS: Final = f"{NVIDIA}/stylegan2/networks"
ADA: Final = f"{NVIDIA}/stylegan2-ada-pytorch/pretrained"

GENERATORS: Final = {
    "stylegan2/ffhq1024": Published(
        what="StyleGAN2 config F, FFHQ at 1024 pixels (Karras et al. 2020)",
        licence=NON_COMMERCIAL,
        files=(
            PublishedFile(
                "ffhq.pkl",
                f"{ADA}/ffhq.pkl",
                "a205a346e86a9ddaae702e118097d014b7b8bd719491396a162cca438f2f524c",
                381_624_121,
            ),
            PublishedFile(
                "stylegan2-ffhq-config-f.pkl",
                f"{NETWORKS}/stylegan2-ffhq-config-f.pkl",
                "adf127ea7bb8a7788c8bdeda3c9937f7310b669b09ecf799ca53a631ff46948d",
                381_673_535,
            ),
            _drive(
                "stylegan2-ffhq-config-f.pt",
                "1EM87UquaoQmk17Q8d5kYIAHqu0dkYqdT",
                "bae494ef77e32a9cd1792a81a3c167692a0e64f6bcd8b06592ff42917e2ed46e",
                381_462_551,
            ),
            _genforce("stylegan2_ffhq1024.pth", "EX0DNWiBvl5FuOQTF4oMPBYBNSalcxTK0AbLwBn9Y3vfgg?e=Q0sZit"),
        ),
    ),
    "stylegan2/ffhq256": Published(
        what="StyleGAN2, FFHQ at 256 pixels, half the width (Karras et al. 2020, ADA)",
        licence=NON_COMMERCIAL,
        files=(
            PublishedFile(
                "ffhq-res256-mirror-paper256-noaug.pkl",
                f"{ADA}/transfer-learning-source-nets/ffhq-res256-mirror-paper256-noaug.pkl",
            ),
        ),
    ),
    "stylegan2/car512": Published(
        what="StyleGAN2 config F, LSUN car, 512 x 384 in 512 pixels (Karras et al. 2020)",
        licence=NON_COMMERCIAL,
        files=(
            PublishedFile(
                "stylegan2-car-config-f.pkl",
                f"{NETWORKS}/stylegan2-car-config-f.pkl",
                "e1618eee2b3ce87c4a3849442f7850ef12a478556bff035c8e09ee7e23b3794c",
                364_027_523,
            ),
            _genforce("stylegan2_car512x384.pth", "EYSnUsxU8KJFuMHhZm-JLWoB0nHxdlbrLHNZ_Qkoe3b9LA?e=Ycjp5A"),
        ),
    ),
    "stylegan2/cat256": Published(
        what="StyleGAN2 config F, LSUN cat at 256 pixels (Karras et al. 2020)",
        licence=NON_COMMERCIAL,
        files=(
            PublishedFile(
                "stylegan2-cat-config-f.pkl",
                f"{NETWORKS}/stylegan2-cat-config-f.pkl",
                "08940fd616cfaf6bc7b0286b5d1a0b3f70febb26e136d64716c8d3f5e9bd3883",
                357_418_027,
            ),
            _genforce("stylegan2_cat256.pth", "EUKXeBwUUbZJr6kup7PW4ekBx2-vmTp8FjcGb10v8bgJxQ?e=nkerMF"),
        ),
    ),
    "stylegan2/church256": Published(
        what="StyleGAN2 config F, LSUN church at 256 pixels (Karras et al. 2020)",
        licence=NON_COMMERCIAL,
        files=(
            PublishedFile(
                "stylegan2-church-config-f.pkl",
                f"{NETWORKS}/stylegan2-church-config-f.pkl",
                "4090c5f83b44b83475c84864188aa39a0fb72694492302b7e6af36aad0d18104",
                357_418_027,
            ),
            _genforce("stylegan2_church256.pth", "EQzDtJUdQ4ROunMGn2sZouEBmNeFX4QWvxjermVE5cZvNA?e=tQ7r9r"),
        ),
    ),
    "stylegan1/ffhq1024": Published(
        what="StyleGAN1, FFHQ at 1024 pixels (Karras et al. 2019)",
        licence="CC BY-NC 4.0",
        files=(
            _drive("karras2019stylegan-ffhq-1024x1024.pkl", "1MEGjdvVpUsu1jB4zrXZN7Y4kBBOzizDQ"),
            _genforce("stylegan_ffhq1024.pth", "EdfMxgb0hU9BoXwiR3dqYDEBowCSEF1IcsW3n4kwfoZ9OQ?e=VwIV58"),
        ),
    ),
    "stylegan1/cat256": Published(
        what="StyleGAN1, LSUN cat at 256 pixels (Karras et al. 2019)",
        licence="CC BY-NC 4.0",
        files=(
            _drive("karras2019stylegan-cats-256x256.pkl", "1MQywl0FNt6lHu8E_EUqnRbviagS7fbiJ"),
            _genforce("stylegan_cat256.pth", "EVjX8u9HuehLip3z0hRfIHcB7QtoFkTB7NiRDb8nrKOl2w?e=lHcp1B"),
        ),
    ),
    "idinvert/ffhq256_generator": Published(
        what="IDInvert's StyleGAN1, FFHQ at 256 pixels, a w a layer (Zhu et al. 2020)",
        licence="MIT",
        files=(_drive("styleganinv_ffhq256_generator.pth", "1SjWD4slw612z2cXa3-n38JwKZXqDUerG"),),
    ),
}

ENCODERS: Final = {
    "e4e/ffhq1024": Published(
        what="e4e encoder, FFHQ (Tov et al. 2021)",
        licence="MIT",
        files=(
            _drive(
                "e4e_ffhq_encode.pt",
                "1cUv_reLE6k3604or78EranS7XzuVMWeO",
                "2ace1d9a8c05c10a399bcd500b8dda118f759ff1aac89dbdab7435f2136a0999",
                1_201_649_680,
            ),
        ),
    ),
    "e4e/car512": Published(
        what="e4e encoder, cars (Tov et al. 2021)",
        licence="MIT",
        files=(_drive("e4e_cars_encode.pt", "17faPqBce2m1AQeLCLHUVXaDfxMRU2QcV"),),
    ),
    "e4e/church256": Published(
        what="e4e encoder, churches (Tov et al. 2021)",
        licence="MIT",
        files=(_drive("e4e_church_encode.pt", "1-L0ZdnQLwtdy6-A_Ccgq5uNJGTqE7qBa"),),
    ),
    "idinvert/ffhq256": Published(
        what="IDInvert's encoder, FFHQ at 256 pixels (Zhu et al. 2020)",
        licence="MIT",
        files=(_drive("styleganinv_ffhq256_encoder.pth", "1gij7xy05crnyA-tUTQ2F3yYlAlu6p9bO"),),
    ),
    "bdinvert/ffhq1024": Published(
        what="BDInvert's base-code encoder, StyleGAN2 of FFHQ at 1024 pixels, 16 x 16 (Kang et al. 2021)",
        licence="AGPL-3.0",
        files=(_drive("bdinvert_ffhq1024.pth", "1Gwi7I72vL7rdwET1Q0QnR71ZuZ0M3Jx1"),),
        note="it comes as an archive; give the encoder in it this name",
    ),
}

MEASURES: Final = {
    "lpips/vgg16": Published(
        what="VGG16 of LPIPS, trained on ImageNet (torchvision)",
        licence="BSD-3-Clause",
        files=(
            PublishedFile(
                "vgg16-397923af.pth",
                "https://download.pytorch.org/models/vgg16-397923af.pth",
                "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
                553_433_881,
            ),
        ),
    ),
    "lpips/alexnet": Published(
        what="AlexNet of LPIPS, trained on ImageNet (torchvision)",
        licence="BSD-3-Clause",
        files=(
            PublishedFile(
                "alexnet-owt-7be5be79.pth",
                "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
                "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
                244_408_911,
            ),
        ),
    ),
    "vggface2": Published(
        what="InceptionResnetV1 of the identity metric, trained on VGGFace2 (facenet-pytorch)",
        licence="MIT; trained on VGGFace2, for research",
        files=(
            PublishedFile(
                "20180402-114759-vggface2.pt",
                "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/20180402-114759-vggface2.pt",
                "281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
                111_898_327,
            ),
        ),
    ),
    "inception/fidelity": Published(
        what="Inception v3 of FID and KID, in torch-fidelity's form",
        licence="Apache-2.0",
        files=(
            PublishedFile(
                "weights-inception-2015-12-05-6726825d.pth",
                "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
                "weights-inception-2015-12-05-6726825d.pth",
            ),
        ),
    ),
}

SIDE_FILES: Final = {
    "pnorm/stylegan2_ffhq1024": Published(
        what="P_N statistics of stylegan2/ffhq1024 (BDInvert)",
        licence="AGPL-3.0",
        files=_below(
            f"{GITHUB}/kkang831/BDInvert_Release/24686cc345e58e00e9d62ae29cf59f8423026330/BDInvert/pnorm/stylegan2_ffhq1024",
            {
                "mean_latent.npy": ("aeb6f280aaab410cfcf0ba9d8d5b3fd3d3d582d05856ed74709c240ce4c800bc", 2176),
                "eigen_values.npy": ("3e563e2f5b6732f60ed6d8037a5f92c5f4c8ecc44711ca903ed929cf6b57f138", 2176),
                "eigen_vectors.npy": ("68de767c0f3345383a2d68614b6814b4867ede1bd90c1c554fedec043339278a", 1_048_704),
            },
        ),
        folder=True,
    ),
    "interfacegan/stylegan2_ffhq1024": Published(
        what="InterfaceGAN directions in W and W+ of stylegan2/ffhq1024 (e4e)",
        licence="MIT",
        files=_below(
            f"{GITHUB}/omertov/encoder4editing/main/editings/interfacegan_directions",
            {
                "age.pt": ("50074516b1629707d89b5e43d6b8abd1792212fa3b961a87a11323d6a5222ae0", 2808),
                "pose.pt": ("736e0eacc8488fa0b020a2e7bd256b957284c364191dfea693705e5d06d43e7d", 37_624),
                "smile.pt": ("817a7e732b59dee9eba862bec8bd7e8373568443bc9f9731a21cf9b0356f0653", 2808),
            },
        ),
        folder=True,
    ),
    "ganspace/stylegan2_ffhq1024": Published(
        what="GANSpace components in W of stylegan2/ffhq1024 (e4e)",
        licence="MIT",
        files=_below(
            f"{GITHUB}/omertov/encoder4editing/main/editings/ganspace_pca",
            {"ffhq_pca.pt": ("4d7f9df1c96180d9026b9cb8d04753579fbf385f321a9d0e263641601c5e5d36", 167_562)},
        ),
    ),
    "interfacegan/stylegan1_ffhq1024": Published(
        what="InterfaceGAN boundaries in Z and W of stylegan1/ffhq1024 (Shen et al. 2020)",
        licence="MIT",
        files=_below(
            f"{GITHUB}/genforce/interfacegan/master/boundaries",
            {
                f"stylegan_ffhq_{name}_boundary.npy": (sha256, 4224)
                for name, sha256 in {
                    "age": "4317407b6601233af2ccdd912f30622636309a05c799c36cc5ce25271bb66488",
                    "age_w": "f92c72c6621fd9630a2100168462a15a531bee410099847fdcdf844159eb7e30",
                    "eyeglasses": "449efdec8d5890db3697f083a1c8525e84a03b6ca04ac0da8c14ad1be2985d83",
                    "eyeglasses_w": "ac826235cc7347eb1f57ba9e6e2904e52f34a6052a4db03dc693648a4f231cc5",
                    "gender": "4fd66591b88ab174605db9e8e7fb2c2cdcd366d0bf4d068cbee0843e04c02100",
                    "gender_w": "077953b129bbb52605b3391d4824938c9ded35337f60d282478c72dcc3c5c28f",
                    "pose": "5f86d2db1961c9636b3c172a822a038641060d7a7d55a3912a6881e46996df78",
                    "pose_w": "688585cf4d2bc3eead7bc18b4cf6e0985a0beb8a5ed46f25a08b2925d33efc1a",
                    "smile": "ea42deb1077732d9689d0b41bee689e6d3605eb863638ac3011935738b020ca6",
                    "smile_w": "5a729c200c2c933806116cb77624ccedbd6fce21aa98fca8be49aeaa35caa1c7",
                }.items()
            },
        ),
        folder=True,
    ),
}

PUBLISHED: Final[dict[str, Published]] = {**GENERATORS, **ENCODERS, **MEASURES, **SIDE_FILES}
