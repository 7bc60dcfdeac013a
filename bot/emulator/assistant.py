"""Answer plausibly without a model: in the customer's language, about what was asked, the same way each time."""

import re
import zlib

_SPANISH = re.compile(
    r"[¿¡ñáéíóú]|\b(hola|que|como|cuanto|cuando|donde|gracias|buen[oa]s|quiero|tienen|necesito|precio|pedido"
    r"|para|por|una?|los|las|el|mi|de|se|si)\b",
    re.IGNORECASE,
)
_GREETING = re.compile(r"^\W*(hola|buen[oa]s|hi|hello|hey|good (morning|evening))\b", re.IGNORECASE)
_THANKS = re.compile(r"\b(gracias|thanks|thank you)\b", re.IGNORECASE)
_PRICE = re.compile(r"\b(precios?|cu[aá]nto|cuesta|vale|price|cost|how much)\b", re.IGNORECASE)
_HOURS = re.compile(r"\b(horarios?|abren|cierran|abierto|hours?|open|close)\b", re.IGNORECASE)
_ORDER = re.compile(r"\b(pedidos?|env[ií]os?|entrega|orden|order|delivery|shipping|ship)\b", re.IGNORECASE)

_ANSWERS: dict[str, dict[re.Pattern[str], str]] = {
    "es": {
        _PRICE: "Estos son los precios de hoy:\n\n"
        "- **Maceta chica:** $120\n- **Maceta mediana:** $190\n- **Maceta grande:** $260\n\n"
        "Todos incluyen IVA. ¿Cuál te interesa?",
        _HOURS: "Abrimos **de lunes a viernes de 9:00 a 18:00** y los sábados de 10:00 a 14:00.",
        _ORDER: "Para revisar tu pedido necesito:\n\n1. El **número de pedido**\n2. El código postal de entrega\n\n"
        "Los envíos tardan de 2 a 4 días hábiles.",
        _THANKS: "¡Con gusto! Si necesitas algo más, aquí estoy. 😊",
        _GREETING: "¡Hola! 👋 Soy el asistente de **La Tienda**. ¿En qué te puedo ayudar?",
    },
    "en": {
        _PRICE: "Here are today's prices:\n\n- **Small pot:** $120\n- **Medium pot:** $190\n- **Large pot:** $260\n\n"
        "Tax included. Which one would you like?",
        _HOURS: "We're open **Monday to Friday, 9:00 to 18:00**, and Saturdays from 10:00 to 14:00. Closed on Sundays.",
        _ORDER: "To look up your order I need:\n\n1. The **order number**\n2. The delivery post code\n\n"
        "Shipping takes 2 to 4 working days.",
        _THANKS: "You're welcome! I'm here if you need anything else. 😊",
        _GREETING: "Hi there! 👋 I'm the assistant of **La Tienda**. How can I help you?",
    },
}
_ELSE = {
    "es": (
        "Sobre «{asked}»: sí, con mucho gusto te ayudo. ¿Me das un poco más de detalle?",
        "Buena pregunta. Respecto a «{asked}», lo más común es **pasar a la tienda** o pedirlo por aquí mismo.",
        "Entiendo: «{asked}». Lo reviso y, mientras tanto, ¿quieres que te comparta el catálogo?",
    ),
    "en": (
        'About "{asked}": yes, happy to help. Could you tell me a little more?',
        'Good question. As for "{asked}", most people **come by the shop** or order right here.',
        'I see: "{asked}". Let me check that. Meanwhile, would you like to see the catalogue?',
    ),
}


def echo(text: str) -> str:
    """Repeat what was asked, so that a test can tell which answer belongs to which message."""
    return f"answer to: {text}"


def reply(text: str) -> str:
    """Answer as a shop's assistant would."""
    language = "es" if _SPANISH.search(text) else "en"
    for pattern, answer in _ANSWERS[language].items():
        if pattern.search(text):
            return answer
    asked = text.strip(" ¿?¡!.\n")
    choice = _ELSE[language][zlib.crc32(text.encode()) % len(_ELSE[language])]
    return choice.format(asked=asked if len(asked) <= 60 else asked[:57].rstrip() + "…")
